"""The copy of a model that is evaluated and saved: float32, with layers of Keras in place of ours."""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.inference import custom_objects
from hvd_train.training.precision.mixed_precision import POLICIES


def is_built_in(layer: Any) -> bool:
    """Whether a file with `layer` opens with Keras alone: a class of Keras's own, or one of ours that stands for one."""
    return type(layer).__module__.split(".")[0] in ("keras", "hvd_train")


def in_float32(model: Any) -> Any:
    """A copy of `model` with the same weights that computes in float32: what is evaluated and saved.

    Layers of ours become the layers of Keras that they stand for. A user's layer keeps its class, also where that
    class derives from one of Keras's: what it computes is the user's.
    """
    # Without its optimizer, which a clone would take along.
    bare = keras.Model(model.input, model.output, name=model.name)
    with keras.saving.custom_object_scope(custom_objects.custom_functions(model)):
        copy = _clone(bare)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers(include_self=False):
        if layer.variables and hasattr(layer, "finalize_state"):  # Normalization computes with tensors of its variables
            layer.finalize_state()
    return copy


def _clone(model: Any) -> Any:
    """`model` (functional or sequential) with new layers, each made by `built_in`."""
    return keras.models.clone_model(model, clone_function=built_in)


def built_in(layer: Any) -> Any:
    """A layer with the settings of `layer` that computes in float32: a class of Keras's own in place of ours."""
    kind: Any = type(layer)
    if is_built_in(layer):
        if isinstance(layer, keras.Model):  # a model inside the model: its layers may be ours or the user's
            return _clone(layer)
        kind = next(kind for kind in kind.__mro__ if kind.__module__.startswith("keras."))
    settings = _settings_in_float32(layer.get_config())
    return kind.from_config(settings | ({"dtype": "float32"} if "dtype" in settings else {}))


def _settings_in_float32(settings: Any) -> Any:
    """The config of a layer, with float32 for bfloat16 in the configs of the layers inside it."""
    if isinstance(settings, dict):
        if settings.get("class_name") == "DTypePolicy" and settings.get("config") == {"name": POLICIES["bfloat16"]}:
            return settings | {"config": {"name": POLICIES["float32"]}}
        return {key: _settings_in_float32(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_settings_in_float32(value) for value in settings]
    return settings
