"""`hvd.init()`, and what scripts written for Horovod say in Keras 2's words, which it makes work on Keras 3.

Horovod's examples and documentation taught these spellings, and Keras 3 refuses them:

- `model.compile(..., experimental_run_tf_function=False)`: dropped (hooks.py wraps compile() anyway)
- `SGD(lr=0.1)`: read as `learning_rate`; and an optimizer of one's own that gives none: 0.001, Keras' usual one
- `tf.keras.losses.mean_squared_error` and its like: Keras 3 has them in `keras.losses` alone
- `variable.ref()`: a hashable reference, as tf.Variable has it

Each is reported once when it is met. Nothing else of Keras changes.
"""

from __future__ import annotations

import functools
import inspect
import os
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf
from horovod.tensorflow import mpi_ops

from hvd_train.keras import environment, hooks
from hvd_train.keras.basics import KerasVariable, native, say_once

DEFAULT_LEARNING_RATE = 0.001
OTHER_BUILD = (
    "This Horovod was not built by hvd_train. It works, but slower: gradients do not pass through shared memory, and each rank "
    "updates all weights. The fast one: hvd-train horovod install"
)
_installed = False


def init(*args: Any, **kwargs: Any) -> None:
    """Start Horovod; every rank must call it, before anything else here. Arguments as in Horovod's `init`.

    Also makes Keras 3 accept the spellings above. Without a launcher this is one rank. A collective that waits for a
    rank longer than HOROVOD_STALL_SHUTDOWN_TIME_SECONDS (600, unless given) ends the job.
    """
    environment.prepare_start(os.environ)
    _horovod.init(*args, **kwargs)
    for words in environment.changed:
        say_once(words)
    if _horovod.size() > 1 and not has_patches():
        say_once(OTHER_BUILD)
    install()


def has_patches() -> bool:
    """Whether this Horovod was built with the patches of hvd_train. One that somebody else built works, and is slower."""
    return hasattr(mpi_ops._basics.MPI_LIB_CTYPES, "horovod_shared_memory_block")


def install() -> None:
    """Install the spellings, once per process."""
    global _installed
    hooks.install()
    if _installed:
        return
    environment.require_keras_3(tf.keras.__version__)
    _installed = True
    _accept_old_rates(hooks.base_optimizer())
    _complete(tf.keras.losses, keras.losses)
    _complete(tf.keras.metrics, keras.metrics)
    if not hasattr(KerasVariable, "ref"):
        KerasVariable.ref = lambda self: _Reference(self)


def _complete(old: Any, new: Any) -> None:
    """Give the module `old` the functions that only `new` has."""
    for name, value in vars(new).items():
        if inspect.isfunction(value) and not hasattr(old, name):
            setattr(old, name, value)


def _accept_old_rates(base: Any) -> None:
    original = base.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if "lr" in kwargs:
            say_once("Keras 3 has no `lr` argument: it is read as `learning_rate`.")
            kwargs["learning_rate"] = float(kwargs.pop("lr"))
        elif not args and "learning_rate" not in kwargs:
            say_once(f"{type(self).__name__} gives Keras 3 no learning_rate: {DEFAULT_LEARNING_RATE} is taken.")
            kwargs["learning_rate"] = DEFAULT_LEARNING_RATE
        original(self, *args, **kwargs)

    base.__init__ = __init__


class _Reference:
    """A hashable stand-in for a variable: equal for the same variable."""

    def __init__(self, variable: Any) -> None:
        self._variable = variable

    def deref(self) -> Any:
        """The variable."""
        return self._variable

    def __hash__(self) -> int:
        return id(native(self._variable))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reference) and native(self._variable) is native(other._variable)
