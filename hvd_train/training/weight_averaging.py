"""Weight averaging: an exponential moving average over steps (EMA), or the mean over the last epochs (SWA).

The averaged weights are validated and saved instead of the trained ones. Keras computes the EMA in the optimizer. SWA is
Izmailov et al. 2018 (arXiv 1803.05407), with equal weight for each epoch. The networks here have no batch statistics, so
nothing has to be computed again. All ranks hold equal weights, and each averages its own: there is no collective.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras

from hvd_train.config import TrainingConfig


class WeightAverage:
    """The averaged weights of `model`. A checkpoint holds `variables`; those of EMA are variables of the optimizer."""

    def __init__(self, model: Any, *, from_epoch: int | None) -> None:
        self._model, self._from_epoch = model, from_epoch
        self.variables: list[Any] = []
        if from_epoch is None:
            # fit() would end by overwriting the weights with their average, and a resumed run may call it twice.
            model.optimizer.finalize_variable_values = lambda variables: None
        else:
            self._count = keras.Variable(0.0, trainable=False, name="swa_epochs")
            self._means = [
                keras.Variable(keras.ops.zeros(v.shape, v.dtype), trainable=False, name="swa_mean")
                for v in model.trainable_variables
            ]
            self.variables = [self._count, *self._means]

    @classmethod
    def of(cls, training: TrainingConfig, model: Any) -> WeightAverage | None:
        """None where nothing is averaged."""
        if training.averaging == "none":
            return None
        # The last epoch always counts, or there would be no mean.
        begin = min(math.ceil(training.swa_from * training.num_epochs), training.num_epochs - 1)
        return cls(model, from_epoch=begin if training.averaging == "swa" else None)

    def epoch_ended(self, epoch: int) -> None:
        """Add the weights after `epoch`, which counts from 0, to the mean of SWA. All ranks."""
        if self._from_epoch is None or epoch < self._from_epoch:
            return
        self._count.assign_add(1.0)
        for mean, variable in zip(self._means, self._model.trainable_variables, strict=True):
            mean.assign(mean + (variable - mean) / self._count)

    @property
    def _average(self) -> list[Any]:
        if self._from_epoch is None:
            return list(self._model.optimizer._model_variables_moving_average)
        return self._means if float(self._count) > 0 else []

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has its averaged weights inside the block, if there are any, and its trained ones after it."""
        average = self._average
        trained = [keras.ops.convert_to_numpy(v) for v in self._model.trainable_variables] if average else []
        for variable, value in zip(self._model.trainable_variables if average else [], average, strict=True):
            variable.assign(value)
        try:
            yield
        finally:
            for variable, own in zip(self._model.trainable_variables if average else [], trained, strict=True):
                variable.assign(own)
