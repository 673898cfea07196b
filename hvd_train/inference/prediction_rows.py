"""A line of predictions.csv from the outputs for a row. Pure. Shape letters: N rows, K outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.evaluation import OutputSpec, medians, softmax

# The two ends of the 90 % interval.
LOW, HIGH = 0.05, 0.95


def columns(spec: OutputSpec) -> tuple[str, ...]:
    """The header of the predictions of this kind of label."""
    if spec.point_loss == "gaussian":
        return ("predicted", "deviation")
    if not spec.predicts_distribution:
        return ("predicted",)
    if spec.kind == "classes":
        return ("most_likely", "probability")
    return ("expected", "median", "most_likely", "probability", "low_90", "high_90")


def predictions(spec: OutputSpec, label_values: tuple[int | str, ...], outputs_NK: np.ndarray) -> list[tuple[Any, ...]]:
    """A tuple for each row, in the order of `columns`. Pure."""
    if not spec.predicts_distribution:
        return [tuple(f"{value:.7g}" for value in row) for row in outputs_NK]
    probabilities = softmax(outputs_NK)
    likeliest = probabilities.argmax(axis=1)
    top = probabilities[np.arange(len(probabilities)), likeliest]
    if spec.kind == "classes":
        return [(label_values[k], f"{p:.6f}") for k, p in zip(likeliest, top, strict=True)]
    expected = probabilities @ spec.values
    cumulative = probabilities.cumsum(axis=1)
    # The first label at which the distribution has passed each end; a rounding may keep the last sum below 1.
    low, high = ((cumulative >= end * cumulative[:, -1:]).argmax(axis=1) for end in (LOW, HIGH))
    middle = medians(probabilities)
    return [
        (f"{e:.3f}", label_values[m], label_values[k], f"{p:.6f}", label_values[a], label_values[b])
        for e, m, k, p, a, b in zip(expected, middle, likeliest, top, low, high, strict=True)
    ]
