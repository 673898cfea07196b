"""LearningRateScheduleCallback and LearningRateWarmupCallback.

Momentum correction (Goyal et al., 2017, section 3): where the velocity contains the learning rate, as in SGD and RMSprop
of Keras, a new rate must not be blended with velocity of the old one. Horovod multiplied the momentum coefficient by
new/old for one batch; Keras 3 compiles that coefficient into the graph, so the velocity is multiplied instead, which is
the same product.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf

from hvd_train.keras.basics import KerasVariable, require_initialized
from hvd_train.keras.plain import become, plain_subclass


class LearningRateScheduleCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """From `start_epoch` until before `end_epoch`, set the learning rate to `initial_lr * multiplier(epoch)`.

    An optimizer with a LearningRateSchedule keeps it: the schedule, which stands for `initial_lr`, is multiplied.

    Args:
        initial_lr: the rate at the start of training.
        multiplier: a function of the epoch, or a constant c for c ** (epoch - start_epoch).
        staircase: set the rate at the first batch of an epoch; else at each batch, with a fractional epoch.
        momentum_correction: see above; has no effect on optimizers without momentum.
        steps_per_epoch: needed without staircase where the length of the data is not known.
    """

    def __init__(
        self,
        initial_lr: float,
        multiplier: float | Callable[[float], float],
        start_epoch: int = 0,
        end_epoch: int | None = None,
        staircase: bool = True,
        momentum_correction: bool = True,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        if initial_lr is None:
            raise ValueError("Parameter `initial_lr` is required")
        self.initial_lr = initial_lr
        self.start_epoch = start_epoch
        self.end_epoch = end_epoch
        self.staircase = staircase
        self.momentum_correction = momentum_correction
        self.steps_per_epoch = steps_per_epoch
        self.current_epoch = 0
        self._rate: _Rate | None = None
        if callable(multiplier):
            self.multiplier: Callable[[float], float] = multiplier
        else:
            constant = float(multiplier)
            self.multiplier = lambda epoch: constant ** (epoch - start_epoch)

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.staircase and not self.steps_per_epoch:
            self.steps_per_epoch = self.params.get("steps")
            if not self.steps_per_epoch:
                raise ValueError(
                    f"The number of steps per epoch is not known. Give steps_per_epoch to {type(self).__name__}, or to "
                    "fit()."
                )
        self._rate = _Rate(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.current_epoch = epoch

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        epoch = self.current_epoch
        if epoch < self.start_epoch or (self.end_epoch is not None and epoch >= self.end_epoch):
            return
        if self.staircase and batch == 0:
            self._adjust(epoch)
        elif not self.staircase:
            assert self.steps_per_epoch is not None
            self._adjust(epoch + batch / self.steps_per_epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None and self._rate is not None:
            logs["lr"] = self._rate.value()

    def _adjust(self, epoch: float) -> None:
        assert self._rate is not None
        before = self._rate.value()
        self._rate.set(self.initial_lr, float(self.multiplier(epoch)))
        after = self._rate.value()
        if self.momentum_correction and before > 0 and after != before:
            self._rate.scale_velocity(after / before)


class LearningRateWarmupCallback(LearningRateScheduleCallback):
    """Raise the learning rate from `initial_lr / size` to `initial_lr` over the first epochs, a little at each batch.

    Args:
        initial_lr: the rate after the warm-up: usually the rate of one rank times `hvd.size()`.
        warmup_epochs: how many epochs it takes.
        verbose: 1 to have the root say when it is over.
    """

    def __init__(
        self,
        initial_lr: float,
        warmup_epochs: float = 5,
        momentum_correction: bool = True,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
    ) -> None:
        def multiplier(epoch: float) -> float:
            assert self.steps_per_epoch is not None
            epoch += 1.0 / self.steps_per_epoch  # so that an epoch ends on a round number
            size: int = _horovod.size()
            return 1.0 / size * (epoch * (size - 1) / warmup_epochs + 1)

        super().__init__(
            initial_lr,
            multiplier,
            start_epoch=0,
            end_epoch=warmup_epochs,  # type: ignore[arg-type] # compared only
            staircase=False,
            momentum_correction=momentum_correction,
            steps_per_epoch=steps_per_epoch,
        )
        self.verbose = verbose

    def on_train_begin(self, logs: Any = None) -> None:
        require_initialized("LearningRateWarmupCallback")
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        assert self.end_epoch is not None
        assert self._rate is not None
        if epoch == self.end_epoch - 1 and self.verbose > 0 and _horovod.rank() == 0:
            rate = self._rate.value()
            sys.stdout.write(f"\nEpoch {epoch + 1}: finished gradual learning rate warmup to {rate:g}.\n")


class _Rate:
    """The learning rate of a model's optimizer: a variable, or a schedule with a factor in front."""

    def __init__(self, model: Any) -> None:
        optimizer = model.optimizer
        while hasattr(optimizer, "inner_optimizer"):  # loss scaling
            optimizer = optimizer.inner_optimizer
        self._optimizer = optimizer
        self._scale: Callable[[tf.Tensor], None] | None = None
        rate = getattr(optimizer, "_learning_rate", None)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            if not hasattr(rate, "hvd_factor"):
                become(rate, plain_subclass(type(rate), _Scaled))
                rate.hvd_factor = tf.Variable(1.0, trainable=False, name="learning_rate_factor")
                if model.train_function is not None:  # it may hold a graph without the factor
                    model.make_train_function(force=True)
            self._schedule = rate
        elif isinstance(rate, KerasVariable) and not hasattr(optimizer, "optimizers"):
            self._schedule = None
        else:
            raise TypeError(
                f"{type(optimizer).__name__} has a learning rate that cannot be set: {rate!r}. Give the optimizer a "
                "number or a LearningRateSchedule."
            )

    def value(self) -> float:
        if self._schedule is None:
            return float(self._optimizer.learning_rate)
        return float(self._schedule(self._optimizer._iterations))

    def set(self, initial: float, multiplier: float) -> None:
        if self._schedule is None:
            self._optimizer.learning_rate = initial * multiplier
        else:
            self._schedule.hvd_factor.assign(multiplier)

    def scale_velocity(self, ratio: float) -> None:
        """Multiply the velocities, where there are any that contain the rate."""
        optimizer = self._optimizer
        if not isinstance(optimizer, (keras.optimizers.SGD, keras.optimizers.RMSprop)) or not optimizer.momentum:
            return
        if not optimizer.built:
            return
        if self._scale is None:
            slots = optimizer.momentums if isinstance(optimizer, keras.optimizers.SGD) else optimizer._momentums
            self._scale = tf.function(lambda r: [v.assign(v * tf.cast(r, v.dtype)) for v in slots if v is not None])
        self._scale(tf.constant(ratio, tf.float32))


class _Scaled:
    """In front of a LearningRateSchedule: its value times a factor that callbacks set."""

    hvd_factor: tf.Variable

    def __call__(self, step: Any) -> Any:
        rate = super().__call__(step)  # type: ignore[misc]
        return rate * tf.cast(self.hvd_factor, rate.dtype)
