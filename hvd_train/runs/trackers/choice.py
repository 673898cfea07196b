"""Finds the trackers of a run by their names: built-in ones, and a user's own by a reference."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

from hvd_train.config import is_reference, require_form, resolve
from hvd_train.errors import ConfigError
from hvd_train.events import Observer
from hvd_train.runs.trackers.base import Tracker

# Name -> module and class, which is imported when it is used.
TRACKERS = {
    "tensorboard": ("hvd_train.runs.trackers.tensorboard", "TensorBoardTracker"),
    "mlflow": ("hvd_train.runs.trackers.mlflow", "MlflowTracker"),
    "wandb": ("hvd_train.runs.trackers.wandb", "WandbTracker"),
    "csv": ("hvd_train.runs.trackers.csv", "CsvTracker"),
}
# Those whose package of the same name comes with an extra of this one.
EXTRAS = ("mlflow", "wandb")
KEY = "trackers"


def require_trackers(names: Sequence[str]) -> None:
    """ConfigError unless each name is that of a built-in tracker or a well-formed reference. Imports nothing."""
    for name in names:
        if is_reference(name):
            require_form(name, key=KEY)
        elif name not in TRACKERS:
            raise ConfigError(
                f"{KEY} = {name!r} is not possible: choose {', '.join(TRACKERS)} or none, or name your own as "
                f"package.module:Class or path/to/file.py:Class."
            )


def make_trackers(names: Sequence[str]) -> list[Observer]:
    """One tracker for each name. Root only.

    Raises:
        ConfigError: a name is unknown, its package is not installed, its module cannot be imported, or what it names is
            no Tracker.
    """
    require_trackers(names)
    for name in names:
        if name in EXTRAS and importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"{KEY} = {name!r} needs the Python package {name}, which rank 0 does not have. Install it there with "
                f"pip install 'hvd_train[{name}]' (versions that were tried: requirements/{name}.txt), or choose another tracker."
            )
    return [_make(name) for name in names]


def _make(name: str) -> Observer:
    if is_reference(name):
        kind = resolve(name, key=KEY)
    else:
        module, class_name = TRACKERS[name]
        kind = getattr(importlib.import_module(module), class_name)
    if not (isinstance(kind, type) and issubclass(kind, Tracker)):
        raise ConfigError(
            f"{KEY} = {name!r} is no tracker but {kind!r}. Derive a class from hvd_train.runs.Tracker and name it."
        )
    try:
        return kind()
    except Exception as error:
        raise ConfigError(
            f"{KEY} = {name!r}: {kind.__name__}() failed: {type(error).__name__}: {error}. A tracker is made without "
            f"arguments; what may fail belongs in its on_start."
        ) from error
