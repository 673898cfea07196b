"""The optimizer of a run, and the learning rate as a function of the global batch and the step.

How the rate follows the global batch is `hvd_train.optimizers.learning_rate`'.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import keras

from hvd_train.config import OptimizerConfig
from hvd_train.optimizers import fused_adam
from hvd_train.optimizers.lars import LARS
from hvd_train.optimizers.learning_rate import (
    COSINE_FLOOR,
    RateCurve,
    fall_steps,
    num_warmup_steps,
    scaled_learning_rate,
)

# Names of the variables that no decay pulls towards zero: biases, and the scales and shifts of normalisations.
NOT_DECAYED = ("bias", "gamma", "beta")


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear warm-up, then constant, cosine or steps, times `factor`, which reduce-on-plateau lowers.

    In the graph and a function of the optimizer's step alone: nothing runs in Python per step, and a resumed run
    continues at the right rate.
    """

    def __init__(self, curve: RateCurve) -> None:
        self.curve = curve
        self.factor = keras.Variable(1.0, trainable=False, dtype="float32", name="plateau_factor")

    def __call__(self, step: Any) -> Any:
        curve, step = self.curve, keras.ops.cast(step, "float32")
        warmup = keras.ops.minimum(1.0, (step + 1.0) / max(1, curve.warmup_steps))
        rate = curve.rate * warmup * self.factor
        if curve.schedule == "constant":
            return rate
        if curve.schedule == "step":
            falls = sum(keras.ops.cast(step >= fall, "float32") for fall in curve.falls_at)
            return rate * curve.step_factor**falls
        remaining = max(1, curve.total_steps - curve.warmup_steps)
        progress = keras.ops.clip((step - curve.warmup_steps) / remaining, 0.0, 1.0)
        cosine = 0.5 * (1.0 + keras.ops.cos(math.pi * progress))
        return rate * (COSINE_FLOOR + (1.0 - COSINE_FLOOR) * cosine)

    def get_config(self) -> dict[str, Any]:
        return asdict(self.curve)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmupSchedule:
        return cls(RateCurve(**config))


def make_schedule(
    config: OptimizerConfig, *, global_batch_size: int, steps_per_epoch: int, num_epochs: int
) -> WarmupSchedule:
    """The rate of each step of a run."""
    return WarmupSchedule(
        RateCurve(
            rate=scaled_learning_rate(config, global_batch_size),
            warmup_steps=num_warmup_steps(config, steps_per_epoch, num_epochs),
            total_steps=steps_per_epoch * num_epochs,
            schedule=config.schedule,
            falls_at=fall_steps(config, steps_per_epoch, num_epochs),
            step_factor=config.step_factor,
        )
    )


def make_optimizer(config: OptimizerConfig, schedule: WarmupSchedule, *, ema_momentum: float | None = None) -> Any:
    """The Keras optimizer, not yet distributed: clipping, decay and averaging act on averaged gradients once it is."""
    shared: dict[str, Any] = {"global_clipnorm": config.clip_norm, "weight_decay": config.weight_decay or None}
    if ema_momentum is not None:
        shared |= {"use_ema": True, "ema_momentum": ema_momentum}
    nesterov = {"momentum": config.momentum, "nesterov": config.momentum > 0}
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, **nesterov, **shared)
    elif config.optimizer == "lars":
        optimizer = LARS(schedule, **nesterov, **shared)
    else:
        kinds = {"adam": fused_adam.Adam, "adamw": fused_adam.AdamW, "lamb": keras.optimizers.Lamb}
        decay = {"weight_decay": config.weight_decay} if config.optimizer == "adamw" else {}
        optimizer = kinds[config.optimizer](schedule, **shared | decay)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer
