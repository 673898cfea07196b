"""Predictions of rows from the outputs of a model, as columns. Pure.

Shape letters: N rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_train.evaluation import OutputSpec, softmax

# The levels of the distribution at the ends of the 90 % interval, and between them.
LOW, MEDIAN, HIGH = 0.05, 0.5, 0.95


def columns(spec: OutputSpec) -> tuple[str, ...]:
    """The header of the predictions of this kind of label."""
    if spec.predicts_std:
        return ("predicted", "deviation")
    if not spec.predicts_distribution:
        return ("predicted",)
    if spec.kind == "classes":
        return ("most_likely", "probability")
    return ("expected", "median", "most_likely", "probability", "low_90", "high_90")


def prediction_columns(
    spec: OutputSpec, label_values: tuple[int | str, ...], outputs_NK: np.ndarray
) -> dict[str, Sequence[Any]]:
    """Each column of `columns` with its N values. Pure."""
    if not spec.predicts_distribution:
        return dict(zip(columns(spec), outputs_NK.T, strict=True))
    probabilities = softmax(outputs_NK)
    likeliest = probabilities.argmax(axis=1)
    # Whole numbers of any size; names as Python's own texts.
    values_K = np.array(label_values, dtype=object if spec.kind == "classes" else None)

    def labels(indices: np.ndarray) -> Sequence[Any]:
        return list(values_K[indices]) if values_K.dtype == object else values_K[indices]  # type: ignore[return-value]

    of_likeliest: dict[str, Sequence[Any]] = {
        "most_likely": labels(likeliest),
        "probability": probabilities[np.arange(len(probabilities)), likeliest],
    }
    if spec.kind == "classes":
        return of_likeliest
    cumulative = probabilities.cumsum(axis=1)
    # The first label at which the distribution has passed each level; a rounding may keep the last sum below 1.
    low, median, high = ((cumulative >= level * cumulative[:, -1:]).argmax(axis=1) for level in (LOW, MEDIAN, HIGH))
    return {
        "expected": probabilities @ spec.values,
        "median": labels(median),
        **of_likeliest,
        "low_90": labels(low),
        "high_90": labels(high),
    }
