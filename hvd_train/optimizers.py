"""The optimizer of a run, and the learning rate as a function of the global batch and the step.

The rate depends on the global batch alone, never on the number of ranks. Linear scaling with warm-up: Goyal et al.
2017, "Accurate, Large Minibatch SGD" (arXiv 1706.02677); square root for adaptive methods: Malladi et al. 2022, "On the
SDEs and Scaling Rules for Adaptive Gradient Algorithms" (arXiv 2205.10287).
"""

from __future__ import annotations

import math
from typing import Any

import keras

from hvd_train.config import OptimizerConfig

# A cosine ends at this share of the rate.
COSINE_FLOOR = 0.01


def scaled_learning_rate(config: OptimizerConfig, global_batch_size: int) -> float:
    """The rate after warm-up for this global batch, in the config's units."""
    ratio = global_batch_size / config.reference_batch_size
    factor = {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}[config.rate_scaling]
    return config.base_learning_rate * factor


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear warm-up, then constant or cosine, times `factor`, which reduce-on-plateau lowers.

    In the graph and a function of the optimizer's step alone: nothing runs in Python per step, and a resumed run
    continues at the right rate.
    """

    def __init__(self, rate: float, *, warmup_steps: int, total_steps: int, schedule: str) -> None:
        self.rate, self.warmup_steps, self.total_steps, self.schedule = rate, warmup_steps, total_steps, schedule
        self.factor = keras.Variable(1.0, trainable=False, dtype="float32", name="plateau_factor")

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        warmup = keras.ops.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps))
        rate = self.rate * warmup * self.factor
        if self.schedule == "constant":
            return rate
        remaining = max(1, self.total_steps - self.warmup_steps)
        progress = keras.ops.clip((step - self.warmup_steps) / remaining, 0.0, 1.0)
        cosine = 0.5 * (1.0 + keras.ops.cos(math.pi * progress))
        return rate * (COSINE_FLOOR + (1.0 - COSINE_FLOOR) * cosine)

    def get_config(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "schedule": self.schedule,
        }


def make_schedule(
    config: OptimizerConfig, *, global_batch_size: int, steps_per_epoch: int, num_epochs: int
) -> WarmupSchedule:
    """The rate of each step of a run."""
    total_steps = steps_per_epoch * num_epochs
    # Warm-up longer than the run would never reach the rate.
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), max(1, total_steps // 2))
    rate = scaled_learning_rate(config, global_batch_size)
    return WarmupSchedule(rate, warmup_steps=warmup_steps, total_steps=total_steps, schedule=config.schedule)


def make_optimizer(config: OptimizerConfig, schedule: WarmupSchedule) -> Any:
    """The Keras optimizer, not yet distributed: clipping and decay act on averaged gradients once it is."""
    shared = {"global_clipnorm": config.clip_norm, "weight_decay": config.weight_decay or None}
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=config.momentum, nesterov=config.momentum > 0, **shared)
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule, **shared | {"weight_decay": config.weight_decay})
    return keras.optimizers.Adam(schedule, **shared)
