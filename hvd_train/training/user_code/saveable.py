"""Can the model be saved as it computes? Asked before training begins, where something in it is the user's own.

A layer is saved as its class and its get_config(). One that leaves something out, or has no get_config() at all, would
end a run after its last epoch, or be read back as another network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_train.errors import ConfigError
from hvd_train.inference import custom_objects
from hvd_train.training.precision.float32_copy import in_float32, is_built_in

# Rows that are put through the model and what was read back.
NUM_ROWS = 4
# The copy computes in float32, the model maybe in bfloat16, whose numbers have 8 bits.
TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 0.1}


def layers_of_the_user(model: Any) -> list[Any]:
    """The layers of `model` that Keras alone does not know."""
    return [layer for layer in model._flatten_layers(include_self=False) if not is_built_in(layer)]


def check_saveable(
    model: Any, *, whole: Callable[[Any], Any] = lambda copy: copy, is_of_the_user: bool = False
) -> str | None:
    """What opening the saved `model` needs, in words; None where Keras alone will do. Root only.

    `whole` makes what is saved from a copy of the model. The model is looked at where the network `is_of_the_user` or
    has layers of the user's.

    Raises:
        ConfigError: the model cannot be saved and read back, or computes something else then.
    """
    own = layers_of_the_user(model)
    if not own and not is_of_the_user:
        return None
    names = ", ".join(sorted({f"{type(layer).__module__}.{type(layer).__qualname__}" for layer in own}))
    advice = (
        f"These layers are not Keras's own: {names}. Give each a get_config() with all arguments of its __init__, so that "
        "the class and they make the same layer again."
        if own
        else "Use layers and operations of Keras, or a layer class of your own in place of keras.layers.Lambda."
    )
    try:
        copy, saved, again, needed = _read_back(model, whole)
    except Exception as error:  # whatever a user's layer raises
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"The model cannot be saved ({type(error).__name__}: {reason}). {advice}") from error
    rows = np.random.default_rng(0).normal(size=(NUM_ROWS, *model.input.shape[1:])).astype(np.float32)
    rounding = max(TOLERANCE.get(layer.dtype_policy.name, 1e-4) for layer in model.layers)
    for one, other, tolerance, words in (
        (copy, model, rounding, "A copy of the model"),
        (again, saved, TOLERANCE["float32"], "The model that was saved and read back"),
    ):
        difference = _difference(one(rows, training=False), other(rows, training=False))
        if not difference <= tolerance:
            raise ConfigError(
                f"{words} predicts something else than the model itself (by {difference:.3g} of the largest output). {advice}"
            )
    if not needed:
        return None
    named = ", ".join(sorted(custom_objects.references(needed).values()))
    return f"model.keras will need your own layers or functions: {named}. In plain Keras, name them as custom_objects of load_model."


def _read_back(model: Any, whole: Callable[[Any], Any]) -> tuple[Any, Any, Any, dict[str, Any]]:
    """A copy of `model`, what is saved of it, the same read back from a file, and the user's objects in it."""
    copy = in_float32(model)
    saved = whole(copy)
    needed = custom_objects.custom_objects(saved)
    with tempfile.TemporaryDirectory(prefix="hvd_train.") as folder:
        path = Path(folder) / "model.keras"
        saved.save(path)
        return copy, saved, keras.models.load_model(path, custom_objects=needed, compile=False), needed


def _difference(one: Any, other: Any) -> float:
    """The largest difference of two outputs, as a share of 1 and the largest number among them."""
    if isinstance(one, dict):
        return max(_difference(one[name], other[name]) for name in other)
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.abs(a - b).max() / (1.0 + np.abs(b).max()))
