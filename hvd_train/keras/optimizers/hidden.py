"""Layers that compute with values that are not variables: statistics, vocabularies, bins, salts.

A broadcast covers variables alone. `refresh` computes again what a layer has derived from them (Normalization keeps
tensors of its mean and variance); `contents` describes what no variable holds, so that the ranks can compare it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_train.keras import hooks
from hvd_train.keras.basics import key

_PREPROCESSING = "keras.src.layers.preprocessing."
# Random layers of a rank may differ, and what they draw should.
_RANDOM = f"{_PREPROCESSING}image_preprocessing."
_NOT_COMPARED = ("name", "dtype", "seed", "trainable")
_derived: weakref.WeakSet[Any] = weakref.WeakSet()
_installed = False


def install() -> None:
    """Note every Normalization that derives tensors, also one in a model that is never compiled. Once per process."""
    global _installed
    if _installed:
        return
    _installed = True
    original = keras.layers.Normalization.finalize_state

    @functools.wraps(original)
    def finalize_state(self: Any) -> None:
        _derived.add(self)
        original(self)

    keras.layers.Normalization.finalize_state = finalize_state


hooks.installers.append(install)


def refresh(variables: Iterable[Any]) -> None:
    """Have each layer that derives something from one of `variables` derive it again. No other rank takes part.

    Functions of Keras that were traced with the old tensors are traced again; a tf.function of the user's cannot be.
    """
    changed = {key(v) for v in variables}
    models = hooks.known_models()
    layers = {id(layer): layer for layer in (*_derived, *(layer for m in models for layer in m._flatten_layers()))}
    stale = {}
    for number, layer in layers.items():
        if hasattr(layer, "finalize_state") and any(key(v) in changed for v in layer.variables):
            layer.finalize_state()
            stale[number] = layer
    for model in models if stale else ():
        if any(id(layer) in stale for layer in model._flatten_layers()):
            model.test_function = model.predict_function = None
            if model.train_function is not None and tf.executing_eagerly():
                model.make_train_function(force=True)


def contents(models: Iterable[Any]) -> list[str]:
    """A line for each layer whose values are no variables: name, class, an excerpt and a hash, between tabs."""
    with tf.init_scope():
        found = [(layer, list(_values(layer))) for model in models for layer in model._flatten_layers()]
        return [f"{layer.name}\t{type(layer).__name__}\t{_shown(values)}" for layer, values in found if values]


def _values(layer: Any) -> Iterator[str]:
    """What `layer` computes with and no variable holds, as text."""
    module = type(layer).__module__
    is_lookup = hasattr(layer, "get_vocabulary")
    if not is_lookup and (not module.startswith(_PREPROCESSING) or module.startswith(_RANDOM)):
        return
    config = {
        k: v for k, v in layer.get_config().items() if k not in _NOT_COMPARED and v is not None and v is not False
    }
    if is_lookup:
        yield from map(str, layer.get_vocabulary())
        weights = getattr(getattr(layer, "_lookup_layer", layer), "idf_weights", None)
        if weights is not None:
            yield str(np.asarray(weights).tolist())
    bins = getattr(layer, "bin_boundaries", None)
    if bins is not None:
        yield str(np.asarray(bins).tolist())
    yield json.dumps(config, sort_keys=True, default=_text).strip("{}")


def _text(value: Any) -> Any:
    return (
        np.asarray(value).tolist() if isinstance(value, (np.ndarray, np.generic, tf.Tensor)) else type(value).__name__
    )


def _shown(values: list[str]) -> str:
    digest = hashlib.sha256("\0".join(values).encode()).hexdigest()
    text = ", ".join(values)
    return f"{text[:120]}{'...' if len(text) > 120 else ''}\t{digest}"
