"""The model that is exported: plain rows in, what `hvd-train predict` writes out, each output under its name.

Built of Keras layers and keras.ops alone. Shape letters: N rows, F features, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from hvd_train.evaluation import OutputSpec
from hvd_train.inference.export import Trained
from hvd_train.inference.prediction_rows import HIGH, LOW, MEDIAN, columns

INPUT = "rows"
# The output that `predict` gives as a name of a class; numbers alone leave an exported model.
CLASS_NUMBER = "most_likely_index"
# Each output whose value is the label at which the probabilities up to it reach a level.
LEVELS = {"low_90": LOW, "median": MEDIAN, "high_90": HIGH}
MEANINGS = {
    "expected": "mean of the labels under the predicted probabilities",
    "median": "median of the labels under the predicted probabilities",
    "most_likely": "label of the largest probability",
    CLASS_NUMBER: "position in labels.values of the most likely label, from 0",
    "probability": "probability of the most likely label",
    "low_90": "lower end of the 90 % interval",
    "high_90": "upper end of the 90 % interval",
    "probabilities": "probability of each label, in the order of labels.values",
    "predicted": "predicted value",
    "deviation": "predicted standard deviation",
}


@dataclass(frozen=True)
class Output:
    """An output of an exported model."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    """None is the number of rows."""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "meaning": MEANINGS[self.name]}


def outputs_of(spec: OutputSpec) -> tuple[Output, ...]:
    """The outputs of a model of this kind: the columns of its predictions, and all probabilities. Pure."""
    if not spec.predicts_distribution:
        return tuple(Output(name, "float32", (None,)) for name in columns(spec))
    numbers = {"most_likely": CLASS_NUMBER} if spec.kind == "classes" else {}
    labels = {"most_likely", CLASS_NUMBER, *LEVELS}
    names = [numbers.get(name, name) for name in columns(spec)]
    own = [Output(name, "int64" if name in labels else "float32", (None,)) for name in names]
    return (*own, Output("probabilities", "float32", (None, len(spec.values))))


def exported_model(trained: Trained) -> Any:
    """The Keras model from {"rows": (N, F)} to {name: (N,) or (N, K)} with the outputs of `outputs_of`."""
    spec = trained.output_spec
    rows_NF = keras.Input((trained.schema.num_features,), name=INPUT)
    raw = trained.model(rows_NF)
    if spec.predicts_distribution:
        found = _of_distribution(keras.ops.softmax(raw, axis=1), spec, trained.schema.label_values)
    else:
        found = {name: raw[:, column] for column, name in enumerate(columns(spec))}
    return keras.Model(rows_NF, {output.name: found[output.name] for output in outputs_of(spec)}, name="exported")


def _of_distribution(probabilities_NK: Any, spec: OutputSpec, label_values: tuple[int | str, ...]) -> dict[str, Any]:
    # Not argmax: Keras tells -0.0 from 0.0 there, by operations on bits that neither ONNX nor LiteRT has.
    largest_N1, most_likely_N1 = keras.ops.top_k(probabilities_NK, 1)
    most_likely = most_likely_N1[:, 0]
    found = {"probabilities": probabilities_NK, "probability": largest_N1[:, 0]}
    if spec.kind == "classes":
        return found | {CLASS_NUMBER: keras.ops.cast(most_likely, "int64")}
    # A label may be any whole number: float32 holds those up to 2**24 alone, and int32 those up to 2**31.
    labels_K = np.asarray(label_values, dtype=np.int64)
    middle = float(spec.values[len(spec.values) // 2])  # float32 holds the distances to it exactly enough
    distances_K = (spec.values - middle).astype(np.float32)
    cumulative_NK = keras.ops.cumsum(probabilities_NK, axis=1)
    # As `predict` does it: a rounding may keep the last sum below 1.
    total_N1 = cumulative_NK[:, -1:]

    def label_at(level: float) -> Any:
        below = keras.ops.sum(keras.ops.cast(cumulative_NK < level * total_N1, "int32"), axis=1)
        return keras.ops.take(labels_K, keras.ops.minimum(below, len(labels_K) - 1))

    return {
        **found,
        "expected": keras.ops.sum(probabilities_NK * distances_K, axis=1) + middle,
        "most_likely": keras.ops.take(labels_K, most_likely),
        **{name: label_at(level) for name, level in LEVELS.items()},
    }
