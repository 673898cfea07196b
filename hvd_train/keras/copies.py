"""What is copied or pickled stays distributed: copy.deepcopy, pickle and cloudpickle of a model or an optimizer.

Keras copies by way of its file format, where a distributed optimizer is a plain one, so that the file opens without
Horovod. Beside the bytes of a *pickle* a mark travels that this process understands: plain Keras ignores it. Where it is
not known (another process has pickled), and for optimizers that were plain from the start, the first step warns.
"""

from __future__ import annotations

import functools
import itertools
import uuid
from typing import Any

import horovod.tensorflow as _horovod
import keras
from keras.src.saving.keras_saveable import KerasSaveable

from hvd_train.keras import hooks
from hvd_train.keras.basics import key, say_once
from hvd_train.keras.plain import become, plain_subclass
from hvd_train.keras.saving import synchronize_layers
from hvd_train.keras.sync_batch_norm import SyncBatchNormalization

_MARK = "hvd_train_keras"
_PROCESS = uuid.uuid4().hex
_numbers = itertools.count()
_classes: dict[str, type] = {}
_installed = False


def _install() -> None:
    global _installed
    if _installed:
        return
    _installed = True
    KerasSaveable.__reduce__ = _wrap_reduce(KerasSaveable.__reduce__)
    KerasSaveable._unpickle_model = classmethod(_wrap_unpickle(KerasSaveable.__dict__["_unpickle_model"].__func__))


hooks.installers.append(_install)


def _wrap_reduce(original: Any) -> Any:
    @functools.wraps(original)
    def __reduce__(self: Any) -> Any:
        function, arguments = original(self)
        mark = _mark_of(self)
        if mark is not None:
            # A distributed optimizer's class is none that pickle could find again; whose method it is does not count.
            function = KerasSaveable._unpickle_model
            setattr(arguments[0], _MARK, mark)  # attributes of a BytesIO are pickled with it
        return function, arguments

    return __reduce__


def _wrap_unpickle(original: Any) -> Any:
    @functools.wraps(original)
    def _unpickle_model(cls: type, bytesio: Any) -> Any:
        copy = original(cls, bytesio)
        mark = getattr(bytesio, _MARK, None)
        if mark is not None:
            _restore(copy, mark)
        return copy

    return _unpickle_model


def _optimizer_of(thing: Any) -> Any | None:
    return thing if isinstance(thing, keras.optimizers.Optimizer) else getattr(thing, "optimizer", None)


def _mark_of(thing: Any) -> dict[str, Any] | None:
    """What a copy of `thing` must be told, or None: plain values alone, which unpickle anywhere."""
    synchronized = isinstance(thing, keras.layers.Layer) and any(
        isinstance(layer, SyncBatchNormalization) for layer in thing._flatten_layers()
    )
    optimizers = list(hooks.optimizers_in(_optimizer_of(thing)))
    if not synchronized and not any(map(hooks.is_distributed, optimizers)):
        return None
    places = {key(v): i for i, v in enumerate(getattr(thing, "trainable_variables", ()))}
    local = [[places.get(k, -1) for k in o.hvd_state.local] if hooks.is_distributed(o) else [] for o in optimizers]
    return {"classes": [_token(o) for o in optimizers], "local": local, "synchronized": synchronized}


def _token(optimizer: Any) -> str | None:
    if not hooks.is_distributed(optimizer):
        return None
    kind = type(optimizer)
    if "_hvd_token" not in vars(kind):
        kind._hvd_token = f"{_PROCESS}.{next(_numbers)}"
        _classes[kind._hvd_token] = kind
    token: str = kind._hvd_token
    return token


def _restore(copy: Any, mark: dict[str, Any]) -> None:
    """Make the optimizers of `copy` distributed as those of the original are."""
    if mark["synchronized"] and isinstance(copy, keras.layers.Layer):
        synchronize_layers(copy)
    optimizers = list(hooks.optimizers_in(_optimizer_of(copy)))
    variables = list(getattr(copy, "trainable_variables", ()))
    for optimizer, token, local in zip(optimizers, mark["classes"], mark["local"], strict=False):
        if token is None or hooks.is_distributed(optimizer):
            continue
        if token not in _classes:
            _say_that_it_is_plain(type(optimizer).__name__, "it was pickled in another process, with Horovod")
            continue
        _become_like(optimizer, _classes[token])
        for place in local:
            if place < 0:
                say_once(f"{optimizer.name} was copied without its model: call register_local_var() for the copy, too.")
            else:
                optimizer.register_local_var(variables[place])
    if copy is not _optimizer_of(copy) and hooks.holds_distributed(_optimizer_of(copy)):
        hooks.register_model(copy)
        hooks.forbid_jit(copy)


def _become_like(optimizer: Any, kind: Any) -> None:
    mixin, parent = kind.__bases__
    if type(optimizer) is not parent:  # a class of the user's that was defined again
        again = {"_hvd_new_state": staticmethod(kind._hvd_new_state), **hooks.keras_2_update_step(type(optimizer))}
        kind = plain_subclass(type(optimizer), mixin, again)
    become(optimizer, kind)


def _say_that_it_is_plain(name: str, why: str) -> None:
    if _horovod.is_initialized() and _horovod.size() > 1:
        say_once(
            f"{name} is not distributed ({why}): this rank's gradients are not averaged with the others'. Use "
            "hvd.DistributedOptimizer(model.optimizer), on every rank."
        )


def _warn_of_plain(optimizer: Any) -> None:
    _say_that_it_is_plain(
        type(optimizer).__name__,
        "another optimizer here is; a model that Keras loads, or that is compiled anew, has a plain one",
    )


hooks.when_plain_applies.append(_warn_of_plain)
