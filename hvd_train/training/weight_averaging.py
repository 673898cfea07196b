"""Averaged weights to validate and keep: an exponential moving average over steps, or the mean over the last epochs.

EMA is the optimizer's own, in the graph. SWA: Izmailov et al. 2018 (arXiv 1803.05407), a weight of one epoch each; the
networks here have no statistics over batches that would have to be counted again. All ranks hold equal weights and
average them for themselves; no collective.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras

from hvd_train.config import TrainingConfig


class WeightAverage:
    """The averaged weights of `model`. `variables` belong into a checkpoint; EMA's are the optimizer's already."""

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
        """Count the weights as they are after `epoch` (from 0). All ranks."""
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
        """The model has its averaged weights inside the block, and its own after it; its own alone where there are none."""
        average = self._average
        trained = [keras.ops.convert_to_numpy(v) for v in self._model.trainable_variables] if average else []
        for variable, value in zip(self._model.trainable_variables if average else [], average, strict=True):
            variable.assign(value)
        try:
            yield
        finally:
            for variable, own in zip(self._model.trainable_variables if average else [], trained, strict=True):
                variable.assign(own)
