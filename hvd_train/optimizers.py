"""The optimizer of a run, and the learning rate as a function of the global batch and the step.

How the rate follows the global batch is `hvd_train.rates`'.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from hvd_train.config import OptimizerConfig
from hvd_train.rates import COSINE_FLOOR, num_warmup_steps, scaled_learning_rate


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
    warmup_steps = num_warmup_steps(config, steps_per_epoch, num_epochs)
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
