"""The callbacks, by Horovod's names. All ranks give fit() the same ones, but for callbacks that write files."""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.keras.callbacks.broadcast import BroadcastGlobalVariablesCallback
from hvd_train.keras.callbacks.learning_rate import LearningRateScheduleCallback, LearningRateWarmupCallback
from hvd_train.keras.callbacks.metrics import MetricAverageCallback, MetricMismatchError

__all__ = [
    "BestModelCheckpoint",
    "BroadcastGlobalVariablesCallback",
    "LearningRateScheduleCallback",
    "LearningRateWarmupCallback",
    "MetricAverageCallback",
    "MetricMismatchError",
]


class BestModelCheckpoint(keras.callbacks.ModelCheckpoint):  # type: ignore[misc]
    """ModelCheckpoint that keeps the best alone. `filepath` may be set after it is built, before fit()."""

    def __init__(
        self,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
    ) -> None:
        super().__init__(
            filepath="best.weights.h5" if save_weights_only else "best.keras",
            monitor=monitor,
            verbose=verbose,
            save_best_only=True,
            save_weights_only=save_weights_only,
            mode=mode,
            save_freq=save_freq,
        )
