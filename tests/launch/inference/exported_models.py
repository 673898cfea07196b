"""Exported models as programs without hvd_train call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

FORMATS = ("savedmodel", pytest.param("onnx", marks=pytest.mark.extra), "litert")
# What is trained for all formats is trained once, where all of them are tested.
IN_EXTRAS = (pytest.mark.slow, pytest.mark.extra)
NO_ONNX = "the packages of hvd_train[onnx] are not installed: make extras"


def need_packages(kind: str) -> None:
    """Skip where packages of the format are missing."""
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason=NO_ONNX)
        pytest.importorskip("tf2onnx", reason=NO_ONNX)


def computed(kind: str, folder: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The exported model in `folder`: rows (n, F) float32 to each output under its name."""
    if kind == "savedmodel":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(folder))
        return lambda rows: {
            name: value.numpy() for name, value in loaded.signatures["serving_default"](rows=tf.constant(rows)).items()
        }
    if kind == "litert":
        import tensorflow as tf

        interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
        return lambda rows: interpreter.get_signature_runner("serving_default")(rows=rows)
    onnxruntime = pytest.importorskip("onnxruntime", reason=NO_ONNX)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    return lambda rows: dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"rows": rows}), strict=True)
    )
