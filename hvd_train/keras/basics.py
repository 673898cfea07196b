"""The small things every module here needs: is Horovod up, say it once, which variable is which."""

from __future__ import annotations

import logging
import os
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf

# The class of all variables of Keras. In Keras 3.6 those of layers and optimizers are no instances of keras.Variable,
# which derives from their class; later ones are of both.
KerasVariable: Any = keras.Variable.__bases__[0]
log = logging.getLogger("hvd_train.keras")
_said: set[str] = set()


class NotInitializedError(ValueError):
    """A call that needs Horovod came before `hvd.init()`. A ValueError, as Horovod's own is."""


def require_initialized(what: str) -> None:
    """Raise NotInitializedError if Horovod has not been started. `what` names the call, as in "hvd.allreduce()"."""
    if not _horovod.is_initialized():
        raise NotInitializedError(
            f"{what} needs Horovod, which has not been initialized. Call hvd.init() first, on every rank."
        )


def say_once(message: str) -> None:
    """Log `message` as a warning, once per process and on the first rank alone."""
    if message in _said:
        return
    _said.add(message)
    if not _horovod.is_initialized() or _horovod.rank() == 0:
        log.warning(message)


def is_elastic() -> bool:
    """Whether the number of ranks can change while the program runs (`horovodrun` elastic)."""
    return os.environ.get("HOROVOD_ELASTIC", "0") == "1"


def native(variable: Any) -> Any:
    """The tf.Variable of a Keras variable; anything else is returned as it is.

    `.value` is not used: under an autocast scope (mixed precision) it returns a tensor of another type.
    """
    return getattr(variable, "_value", variable) if not isinstance(variable, tf.Variable) else variable


def key(variable: Any) -> int:
    """What tells variables apart, alike for a Keras variable and the tf.Variable in it. Valid while it lives."""
    return id(native(variable))
