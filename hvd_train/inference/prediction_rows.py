"""Predictions of rows from the outputs of a model: as columns of numbers, and as lines of predictions.csv. Pure.

Shape letters: N rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_train.evaluation import OutputSpec, medians, softmax

# The two ends of the 90 % interval.
LOW, HIGH = 0.05, 0.95
# How a column of numbers is written.
_FORMATS = {"predicted": ".7g", "deviation": ".7g", "expected": ".3f", "probability": ".6f"}


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

    def labels(indices: np.ndarray) -> list[int | str]:
        return [label_values[k] for k in indices]

    of_likeliest: dict[str, Sequence[Any]] = {
        "most_likely": labels(likeliest),
        "probability": probabilities[np.arange(len(probabilities)), likeliest],
    }
    if spec.kind == "classes":
        return of_likeliest
    cumulative = probabilities.cumsum(axis=1)
    # The first label at which the distribution has passed each end; a rounding may keep the last sum below 1.
    low, high = ((cumulative >= end * cumulative[:, -1:]).argmax(axis=1) for end in (LOW, HIGH))
    return {
        "expected": probabilities @ spec.values,
        "median": labels(medians(probabilities)),
        **of_likeliest,
        "low_90": labels(low),
        "high_90": labels(high),
    }


def predictions(spec: OutputSpec, label_values: tuple[int | str, ...], outputs_NK: np.ndarray) -> list[tuple[Any, ...]]:
    """A line for each row as it is written, in the order of `columns`. Pure."""
    found = prediction_columns(spec, label_values, outputs_NK)
    written = [
        [format(value, _FORMATS[name]) for value in values] if name in _FORMATS else values
        for name, values in found.items()
    ]
    return list(zip(*written, strict=True))
