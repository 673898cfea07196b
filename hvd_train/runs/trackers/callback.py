"""TrackerCallback: the trackers of hvd-train for a training script in Keras, with hvd_train.keras or without.

import hvd_train.keras as hvd
from hvd_train.runs import TrackerCallback

hvd.init()
model.fit(..., callbacks=[hvd.callbacks.MetricAverageCallback(), TrackerCallback("tensorboard", run_dir="runs/mine")])
"""

from __future__ import annotations

import math
import sys
import time
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras

from hvd_train.runs.trackers.background import Trackers
from hvd_train.runs.trackers.base import Interval
from hvd_train.runs.trackers.choice import make_trackers, require_trackers
from hvd_train.runs.trackers.csv import CsvTracker
from hvd_train.runs.trackers.tensorboard import TensorBoardTracker

SHOW_EVERY_S = 0.2
RATE_EVERY_S = 1.0


class TrackerCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Sends what fit() does to trackers. Give it to every rank: rank 0 alone has trackers, and no rank waits for them.

    Scalars by epoch are the logs of fit(). With `hvd.callbacks.MetricAverageCallback` they are numbers over all ranks. Those by
    step are of rank 0. fit() with the same `run_dir` goes on in the same place, and `initial_epoch` continues its axis.

    Args:
        names: tensorboard, mlflow, wandb, csv, or a Tracker of your own as "file.py:Class" or "package.module:Class".
        run_dir: the directory for files, and for the names by which a later start finds its place. It is made.
        parameters: what to show as hyper-parameters, beside those of the optimizer and of fit().

    Raises:
        ConfigError: alike on every rank, for a name that is unknown. On rank 0, when fit() begins, for a package that is not
            installed.
    """

    def __init__(self, *names: str, run_dir: str | Path, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._names = [name for name in (names or ("tensorboard",)) if name != "none"]
        require_trackers(self._names)
        self._run_dir, self._parameters = Path(run_dir), dict(parameters or {})
        self._trackers: Trackers | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        if not _is_root():
            return
        self._run_dir.mkdir(parents=True, exist_ok=True)
        made = make_trackers(self._names)
        for tracker in made:
            if isinstance(tracker, CsvTracker):
                tracker.writes_metrics = True
            elif isinstance(tracker, TensorBoardTracker):
                tracker.drops_lost_steps = False
        self._trackers = Trackers(made, _warn)
        # fit() that ends by an exception calls no callback.
        self._close = weakref.finalize(self, self._trackers.close)
        self._epochs = 0
        self._show, self._rate = Interval(SHOW_EVERY_S), Interval(RATE_EVERY_S)
        optimizer = {
            key: value for key, value in self.model.optimizer.get_config().items() if not isinstance(value, dict)
        }
        fit = {key: value for key, value in self.params.items() if key != "verbose"}
        config = {**self._parameters, "optimizer": optimizer, "fit": fit}
        facts = {
            "model": f"{self.model.name}, {self.model.count_params():,} parameters"
            if self.model.built
            else self.model.name
        }
        self._trackers.on_start(config, facts, self._run_dir)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._trackers:
            self._started, self._first_step = time.monotonic(), self._step()
            self._trackers.on_epoch_begin(
                epoch + 1, self.params.get("epochs") or 0, 0
            )  # steps are counted by the optimizer

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._trackers or not self._show.is_over():
            return
        step = self._step()
        self._trackers.on_steps(step, 0, math.nan, float((logs or {}).get("loss", math.nan)))
        if self._rate.is_over():
            self._trackers.on_learning_rate(step, self._learning_rate())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self._trackers:
            return
        seconds = time.monotonic() - self._started
        numbers = {name: float(value) for name, value in (logs or {}).items() if _is_number(value)}
        own = {
            "learning_rate": self._learning_rate(),
            "steps_per_s": (self._step() - self._first_step) / seconds,
            "seconds": seconds,
        }
        self._epochs = epoch + 1
        self._trackers.on_epoch_end({"epoch": epoch + 1, **own, **numbers}, best=False)

    def on_train_end(self, logs: Any = None) -> None:
        if self._trackers:
            self._trackers.on_end(SimpleNamespace(metrics={}, best_epoch=self._epochs, epochs=self._epochs))
            self._close()
            self._trackers = None

    def _step(self) -> int:
        return int(self.model.optimizer.iterations)

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_root() -> bool:
    """Whether this process is rank 0, or alone."""
    hvd = sys.modules.get("hvd_train.keras")  # not imported here: a script in plain Keras may lack Horovod
    return hvd is None or not hvd.is_initialized() or hvd.rank() == 0


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
