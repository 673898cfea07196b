"""Can the model be saved as it computes? Asked before training begins, where it has layers of the user's own.

A layer is saved as its class and its get_config(). One that leaves something out, or has no get_config() at all, would
end a run after its last epoch, or be read back as another network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_train.errors import ConfigError
from hvd_train.training.precision import in_float32, is_built_in

# Rows that are put through the model and what was read back.
NUM_ROWS = 4
# The copy computes in float32, the model maybe in bfloat16, whose numbers have 8 bits.
TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 0.1}


def layers_of_the_user(model: Any) -> list[Any]:
    """The layers of `model` that Keras alone does not know."""
    return [layer for layer in model._flatten_layers(include_self=False) if not is_built_in(layer)]


def check_saveable(model: Any) -> str | None:
    """What opening the saved `model` needs, in words; None where Keras alone will do. Root only.

    Raises:
        ConfigError: the model cannot be saved and read back, or computes something else then.
    """
    own = layers_of_the_user(model)
    if not own:
        return None
    names = ", ".join(sorted({f"{type(layer).__module__}.{type(layer).__qualname__}" for layer in own}))
    advice = (
        f"Of its layers these are not Keras's own: {names}. Give each a get_config() with all arguments of its __init__, "
        "so that the class and they make the same layer again."
    )
    try:
        copy, again = _read_back(model, {type(layer).__name__: type(layer) for layer in own})
    except Exception as error:  # whatever a user's layer raises
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"The model cannot be saved ({type(error).__name__}: {reason}). {advice}") from error
    rows = np.random.default_rng(0).normal(size=(NUM_ROWS, *model.input.shape[1:])).astype(np.float32)
    there = np.asarray(model(rows, training=False), np.float64)
    tolerance = max(TOLERANCE.get(layer.dtype_policy.name, 1e-4) for layer in model.layers)
    scale = 1.0 + np.abs(there).max()
    for one, words in ((copy, "A copy of the model"), (again, "The model that was saved and read back")):
        difference = float(np.abs(np.asarray(one(rows, training=False), np.float64) - there).max())
        if not difference <= tolerance * scale:
            raise ConfigError(f"{words} predicts something else than the model itself (by {difference:.3g}). {advice}")
    return f"model.keras will need your own layers: import {names} before you open it, or name them as custom_objects."


def _read_back(model: Any, classes: dict[str, type]) -> tuple[Any, Any]:
    """A copy of `model` as it is saved, and the same after it was written to a file and read."""
    copy = in_float32(model)
    with tempfile.TemporaryDirectory(prefix="hvd_train.") as folder:
        path = Path(folder) / "model.keras"
        copy.save(path)
        return copy, keras.models.load_model(path, custom_objects=classes, compile=False)
