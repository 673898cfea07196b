"""Finds the trackers of a run by their names: built-in ones, and a user's own by a reference."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from hvd_train.config import is_reference, require_form, resolve
from hvd_train.errors import ConfigError
from hvd_train.events import Observer
from hvd_train.runs.trackers.base import Tracker

# Name -> module and class, which is imported when it is used.
TRACKERS = {"tensorboard": ("hvd_train.runs.trackers.tensorboard", "TensorBoardTracker")}
KEY = "trackers"


def require_trackers(names: Sequence[str]) -> None:
    """ConfigError unless each name is that of a built-in tracker or a well-formed reference. Imports nothing."""
    for name in names:
        if is_reference(name):
            require_form(name, key=KEY)
        elif name not in TRACKERS:
            raise ConfigError(
                f"{KEY} = {name!r} is not possible: choose {', '.join(TRACKERS)}, or name your own as "
                f"package.module:Class or path/to/file.py:Class."
            )


def make_trackers(names: Sequence[str]) -> list[Observer]:
    """One tracker for each name. Root only.

    Raises:
        ConfigError: a name is unknown, its module cannot be imported, or what it names is no Tracker.
    """
    require_trackers(names)
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
