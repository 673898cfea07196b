"""The formats: how each is written, and how its own runtime computes it again.

| format | file | written by | computed by |
|---|---|---|---|
| savedmodel | saved_model.pb, variables/ | TensorFlow | TensorFlow, TensorFlow Serving |
| onnx | model.onnx | Keras and tf2onnx | onnxruntime |
| litert | model.tflite | the TFLite converter of TensorFlow | LiteRT |
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.distributed import quiet_stderr
from hvd_train.errors import UserError
from hvd_train.inference.exported.outputs import INPUT
from hvd_train.inference.exported.requirements import Format

Compute = Callable[[np.ndarray], dict[str, np.ndarray]]
"""(n, F) float32 -> each output under its name."""


@dataclass(frozen=True)
class Written:
    """A model in a format: what another program needs to know of it, and the model as its own runtime computes it."""

    file: str
    """In the directory of the export; "." is the directory itself."""
    compute: Compute
    runtime: str
    """Name and version of what computed it here."""
    facts: dict[str, Any] = field(default_factory=dict)


def write(kind: Format, model: Any, folder: Path) -> Written:
    """Write the exported `model` into the empty `folder`. UserError where the format lacks an operation of it."""
    writers = {"savedmodel": _savedmodel, "onnx": _onnx, "litert": _litert}
    with quiet():
        try:
            return writers[kind](model, folder)
        except UserError as error:
            refused = error
    raise refused  # out here, so that what the converter has printed is not shown with it


def _savedmodel(model: Any, folder: Path) -> Written:
    import tensorflow as tf

    model.export(folder, verbose=False, input_signature=_signature(model))
    loaded = tf.saved_model.load(str(folder))
    serving = loaded.signatures["serving_default"]

    def compute(rows_NF: np.ndarray) -> dict[str, np.ndarray]:
        # `loaded` holds the variables that the signature reads.
        assert loaded is not None
        return {name: value.numpy() for name, value in serving(**{INPUT: tf.constant(rows_NF)}).items()}

    return Written(".", compute, f"tensorflow {tf.__version__}", {"signature": "serving_default"})


def _onnx(model: Any, folder: Path) -> Written:
    import onnx
    import onnxruntime

    path = folder / "model.onnx"
    model.export(path, format="onnx", verbose=False, input_signature=_signature(model))
    document = onnx.load(str(path))
    _fill_constants(document, model)
    if lacking := sorted({node.op_type for node in document.graph.node if not _is_known(node)}):
        raise _not_expressible("onnx", lacking)
    for name, value in (("producer", "hvd_train"), ("metadata", "metadata.json")):
        document.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(document)
    onnx.save(document, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def compute(rows_NF: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, {INPUT: rows_NF}), strict=True))

    opset = max(entry.version for entry in document.opset_import if entry.domain in ("", "ai.onnx"))
    return Written(path.name, compute, f"onnxruntime {onnxruntime.__version__}", {"opset": opset})


def _fill_constants(document: Any, model: Any) -> None:
    """Give constants of the model that tf2onnx has made inputs of the graph their values, in their order.

    It does so with tensors that a layer holds, such as the edges of the labels in the Gaussian head. The comparison with
    Keras sees whether each has its own value.
    """
    import onnx
    import tensorflow as tf

    open_inputs = [value for value in document.graph.input if value.name != INPUT]
    if not open_inputs:
        return
    forward = tf.function(lambda rows: model(rows, training=False), input_signature=_signature(model), autograph=False)
    held = [tensor for tensor in forward.get_concrete_function().captured_inputs if tensor.dtype != tf.resource]
    if len(held) != len(open_inputs):
        raise _not_expressible("onnx", [value.name for value in open_inputs])
    for value, tensor in zip(open_inputs, held, strict=True):
        document.graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), value.name))
        document.graph.input.remove(value)


def _is_known(node: Any) -> bool:
    """Whether ONNX has this operation. tf2onnx leaves in place what it cannot convert."""
    import onnx

    return bool(node.domain) or onnx.defs.has(node.op_type)


def _litert(model: Any, folder: Path) -> Written:
    import tensorflow as tf

    path, saved = folder / "model.tflite", folder / "saved"
    # Not from a function: the converter would leave variables in it that nothing fills.
    model.export(saved, verbose=False, input_signature=_signature(model))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=["serving_default"])
    # Operations of TensorFlow stand where LiteRT has none. The interpreter of TensorFlow 2.21 cannot compute those, and nor
    # can most devices: they are allowed here so that the message can name them.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    try:
        path.write_bytes(converter.convert())
    except Exception as error:
        raise UserError(f"This model cannot be exported as litert: {str(error).strip().splitlines()[0]}") from error
    finally:
        shutil.rmtree(saved)
    interpreter = tf.lite.Interpreter(str(path))
    flex = sorted({name[4:] for step in interpreter._get_ops_details() if (name := step["op_name"]).startswith("Flex")})
    if flex:
        raise _not_expressible("litert", flex)
    signature = interpreter.get_signature_runner()

    def compute(rows_NF: np.ndarray) -> dict[str, np.ndarray]:
        return dict(signature(**{INPUT: rows_NF}))

    runtime = f"LiteRT of tensorflow {tf.__version__}"
    return Written(path.name, compute, runtime, {"signature": "serving_default"})


def _signature(model: Any) -> list[Any]:
    """Any number of rows, under their name."""
    import tensorflow as tf

    return [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)]


def _not_expressible(kind: Format, operations: list[str]) -> UserError:
    return UserError(
        f"This model cannot be exported as {kind}, which has no counterpart of {', '.join(operations)}. "
        "Export it as savedmodel. The usual reasons are --transform log-covariance (eigenvalues), --loss gaussian for years (litert has no Erf), and a layer of your own."
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what converters and runtimes print for those who write them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), quiet_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
