"""The learning rate as plain arithmetic: of the global batch and the step, never of the number of ranks.

Linear scaling with warm-up: Goyal et al. 2017, "Accurate, Large Minibatch SGD" (arXiv 1706.02677); square root for
adaptive methods: Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms" (arXiv
2205.10287). `hvd_train.optimizers.factory.WarmupSchedule` is `RateCurve` in the graph; a test holds them together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hvd_train.config import OptimizerConfig

# A cosine ends at this share of the rate.
COSINE_FLOOR = 0.01


def scaled_learning_rate(config: OptimizerConfig, global_batch_size: int) -> float:
    """The rate after warm-up for this global batch, in the config's units."""
    ratio = global_batch_size / config.reference_batch_size
    factor = {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}[config.rate_scaling]
    return config.base_learning_rate * factor


def num_warmup_steps(config: OptimizerConfig, steps_per_epoch: int, num_epochs: int) -> int:
    """Steps of warm-up; at most half of the run, since a longer one would never reach the rate."""
    return min(round(config.warmup_epochs * steps_per_epoch), max(1, steps_per_epoch * num_epochs // 2))


def fall_steps(config: OptimizerConfig, steps_per_epoch: int, num_epochs: int) -> tuple[int, ...]:
    """The steps at which the rate of the schedule "step" falls: by default at a half and three quarters of the run."""
    epochs = config.step_epochs or (num_epochs / 2, 3 * num_epochs / 4)
    return tuple(round(epoch * steps_per_epoch) for epoch in epochs)


@dataclass(frozen=True)
class RateCurve:
    """The rate of each step (from 0): linear warm-up to `rate`, then by `schedule`."""

    rate: float
    warmup_steps: int
    total_steps: int
    schedule: str
    """constant; cosine, down to COSINE_FLOOR of the rate; step, times `step_factor` at each step of `falls_at`."""
    falls_at: tuple[int, ...] = ()
    step_factor: float = 0.1

    def at(self, step: int) -> float:
        warmed = self.rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.schedule == "constant":
            return warmed
        if self.schedule == "step":
            return warmed * self.step_factor ** sum(step >= fall for fall in self.falls_at)
        progress = min(max((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps), 0.0), 1.0)
        return warmed * (COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))
