"""The places where Keras itself must know that an optimizer is distributed.

- `Model.compile`: Horovod's collectives cannot be compiled by XLA, and `jit_compile="auto"` would choose XLA.
- `LossScaleOptimizer.check_finite`: whether a step is skipped must be one decision, alike on all ranks.
- `CallbackList`: MetricAverageCallback comes first, so that every other callback sees what it writes; around all of them
  come two that compare the ranks (agreement.py).
- `fit`: where Horovod ended the job, it explains what that means (agreement.py).
- `BaseOptimizer.apply`: a plain optimizer beside a distributed one is a mistake that nothing else shows (copies.py).
- `KerasSaveable.__reduce__` and `_unpickle_model`: copies stay distributed (copies.py).
- `Normalization.finalize_state`: to know the layers that a broadcast must tell of their new statistics (hidden.py).

Each wraps one method and changes nothing for models without a distributed optimizer.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf
from keras.src.trainers.trainer import Trainer

from hvd_train.keras.basics import say_once

REDUCED = "_hvd_train_reduced"
"""The attribute of a gradient that is an average over the ranks already."""
_installed = False
_order = itertools.count()
_compiled: weakref.WeakSet[Any] = weakref.WeakSet()
installers: list[Callable[[], None]] = []
"""What modules that import this one install with it."""
around_fit: list[Callable[[Any], tuple[Any, Any] | None]] = []
"""Given a CallbackList, a callback to come first in it and one to come last, or None."""
when_plain_applies: list[Callable[[Any], None]] = []
"""Called with a plain optimizer that is about to update in a process where another is distributed."""
any_distributed = False
_inside_distributed = 0


def install() -> None:
    """Wrap the three methods, once per process."""
    global _installed
    if _installed:
        return
    _installed = True
    Trainer.compile = _wrap_compile(Trainer.compile)
    scaler = keras.optimizers.LossScaleOptimizer
    scaler.check_finite = _wrap_check_finite(scaler.check_finite)
    keras.callbacks.CallbackList.__init__ = _wrap_callback_list(keras.callbacks.CallbackList.__init__)
    base = base_optimizer()
    base.apply = _wrap_apply(base.apply)
    for installer in installers:
        installer()


def base_optimizer() -> Any:
    """The class at the root of Keras' optimizers, whose methods all of them reach."""
    return next(c for c in reversed(keras.optimizers.Optimizer.__mro__) if c.__name__ == "BaseOptimizer")


def is_distributed(optimizer: Any) -> bool:
    """Whether `optimizer` itself reduces gradients."""
    return hasattr(type(optimizer), "_hvd_new_state")


def optimizers_in(optimizer: Any) -> Iterator[Any]:
    """`optimizer` and what is inside it (loss scaling, MultiOptimizer)."""
    if optimizer is None:
        return
    yield optimizer
    for inner in (getattr(optimizer, "inner_optimizer", None), *getattr(optimizer, "_inner_optimizers", [])):
        yield from optimizers_in(inner)


def distributed_in(optimizer: Any) -> Iterator[Any]:
    """Those of `optimizers_in` that reduce gradients."""
    return filter(is_distributed, optimizers_in(optimizer))


def holds_distributed(optimizer: Any) -> bool:
    """Whether `optimizer` or one inside it reduces gradients."""
    return next(distributed_in(optimizer), None) is not None


def register_model(model: Any) -> None:
    """Note that `model` trains with a distributed optimizer."""
    if model not in _compiled:
        object.__setattr__(model, "_hvd_train_order", next(_order))
        _compiled.add(model)


def compiled_models() -> list[Any]:
    """The models that were compiled with a distributed optimizer and are still in use, oldest first."""
    gc.collect()  # a model nobody holds may live on in a cycle, on one rank longer than on another
    return known_models()


def known_models() -> list[Any]:
    """The same, and some that nobody uses any more: for questions that no other rank is asked."""
    return sorted(_compiled, key=lambda model: model._hvd_train_order)


def models_of(optimizer: Any) -> list[Any]:
    """The models that were compiled with this distributed optimizer, oldest first."""
    return [m for m in known_models() if any(o is optimizer for o in distributed_in(m.optimizer))]


def forbid_jit(model: Any) -> None:
    """See to it that `model` trains without XLA, also if it has been compiled for it."""
    if model.jit_compile:
        model.jit_compile = False
        if model.train_function is not None:
            model.make_train_function(force=True)


def _wrap_compile(original: Any) -> Any:
    @functools.wraps(original)
    def compile(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.pop("experimental_run_tf_function", None) is not None:
            say_once("Keras 3 has no `experimental_run_tf_function`: compile() leaves it out. It is not needed.")
        given = inspect.signature(original).bind(self, *args, **kwargs)
        given.apply_defaults()
        if holds_distributed(given.arguments["optimizer"]):
            if given.arguments["jit_compile"] == "auto":
                if not given.arguments["run_eagerly"]:
                    say_once(
                        'jit_compile="auto" is taken as False: XLA cannot compile Horovod\'s collectives. '
                        "Give jit_compile=False to say so yourself."
                    )
                given.arguments["jit_compile"] = False
            elif given.arguments["jit_compile"]:
                raise ValueError(
                    "jit_compile=True cannot be had with a distributed optimizer: XLA cannot compile Horovod's "
                    'collectives. Give jit_compile=False, or leave it "auto".'
                )
            register_model(self)
            _warn_of_unsynchronized_layers(self)
        original(*given.args, **given.kwargs)

    return compile


def _warn_of_unsynchronized_layers(model: Any) -> None:
    """What was saved as SyncBatchNormalization and opened by plain Keras takes each rank's own statistics."""
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.BatchNormalization and layer.synchronized:
            say_once(
                f"{layer.name} is a BatchNormalization with synchronized=True, which Keras does not carry out under "
                "Horovod. Open the model with hvd.load_model(), or build it with hvd.SyncBatchNormalization."
            )


def _wrap_check_finite(original: Any) -> Any:
    @functools.wraps(original)
    def check_finite(self: Any, grads: Any) -> Any:
        finite = original(self, grads)
        distributed = self if is_distributed(self) else self.inner_optimizer
        if not is_distributed(distributed):
            return finite
        state = distributed.hvd_state
        # Gradients that are reduced already are finite on all ranks or on none; not so what each rank has for itself.
        if (distributed is self and not state.local) or not state.reduction.needs_communication():
            return finite
        if len(grads) == len(self._trainable_variables):
            state.prepare(grads, self._trainable_variables, distributed)
        everywhere = _horovod.allreduce(
            tf.cast(finite, tf.int32),
            op=_horovod.Min,
            process_set=state.reduction.process_set,
            name=f"{state.name}.{state.number}.finite",
            ignore_name_scope=True,
        )
        return tf.equal(everywhere, 1)

    return check_finite


@contextlib.contextmanager
def inside_distributed() -> Iterator[None]:
    """In this block a distributed optimizer updates, maybe by a plain one inside it."""
    global _inside_distributed
    _inside_distributed += 1
    try:
        yield
    finally:
        _inside_distributed -= 1


def _wrap_apply(original: Any) -> Any:
    @functools.wraps(original)
    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        if any_distributed and not _inside_distributed and not is_distributed(self):
            grads = list(grads)
            if not any(getattr(g, REDUCED, False) for g in grads):  # those of a DistributedGradientTape
                for tell in when_plain_applies:
                    tell(self)
        return original(self, grads, trainable_variables)

    return apply


def _wrap_callback_list(original: Any) -> Any:
    @functools.wraps(original)
    def __init__(self: Any, callbacks: Any = None, *args: Any, **kwargs: Any) -> None:
        if isinstance(callbacks, (list, tuple)):
            callbacks = sorted(callbacks, key=lambda c: not getattr(c, "hvd_runs_first", False))
        original(self, callbacks, *args, **kwargs)
        for pair in filter(None, (make(self) for make in around_fit)):
            for callback in pair:
                callback.set_params(self.params)
                callback.set_model(self.model)
            self.callbacks[:] = [pair[0], *self.callbacks, pair[1]]

    return __init__


def keras_2_update_step(parent: type) -> dict[str, Any]:
    """For an optimizer whose `update_step(gradient, variable)` knows no learning rate: one that takes Keras 3's call."""
    update_step = getattr(parent, "update_step", None)
    if update_step is None or len(inspect.signature(update_step).parameters) != 3:
        return {}

    def update_step_of_keras_3(self: Any, gradient: Any, variable: Any, learning_rate: Any = None) -> Any:
        return update_step(self, gradient, variable)

    return {"update_step": update_step_of_keras_3}
