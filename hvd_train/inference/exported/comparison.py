"""The exported model against Keras, on the same rows: a conversion that changes a prediction is found before it is used.

numpy only, but for the layers of the model. Shape letters: N rows, F features, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hvd_train.inference.exported.outputs import CLASS_NUMBER, LEVELS
from hvd_train.models import PREPARED

CLOSE = 1e-5
"""Outputs differ by at most this, absolutely where they are below 1 and relatively above: what float32 rounding explains."""
FAR = 1e-3
"""From here on it is another model."""
NUM_ROWS = 1024


def likely_rows(model: Any, layout: tuple[int, int], seed: int = 0) -> tuple[np.ndarray | None, str]:
    """(NUM_ROWS, F) rows as a model may be given, and what they are in words; None where nothing is known of them.

    Where the model standardises by the train split, each column is from a normal distribution with its mean and its
    standard deviation, and one row has missing values. Series are random walks, see `_random_series`.
    """
    layers = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    num_features = model.input_shape[-1]
    # Prepared series have one more column, their length.
    are_series = PREPARED in layers and layers[PREPARED].output.shape[-1] == num_features + 1
    standardisation = [layers[name] for name in ("normalise", "to_unit") if name in layers]
    # A network of the user's that reads plain rows, or a transform of its own.
    if not are_series and not standardisation:
        return None, ""
    rows_NF = _random_series(layout, seed) if are_series else _random_rows(num_features, seed)
    for layer in standardisation:
        scale, offset = (np.asarray(value, np.float64) for value in (layer.scale, layer.offset))
        # A column that is constant in the train split has the scale 0.
        rows_NF = np.where(scale == 0, 0.0 * rows_NF, (rows_NF - offset) / np.where(scale == 0, 1.0, scale))
    told = "random series of every length" if are_series else "random rows, as the train split was spread"
    return rows_NF.astype(np.float32), told


def _random_rows(num_features: int, seed: int) -> np.ndarray:
    """(NUM_ROWS, F) normal numbers, and one row without values."""
    rows_NF = np.random.default_rng(seed).normal(size=(NUM_ROWS, num_features))
    rows_NF[0] = np.nan
    return rows_NF


def _random_series(layout: tuple[int, int], seed: int) -> np.ndarray:
    """(NUM_ROWS, F) random walks of each length, padded by NaN. One has no value, one is constant, and some lack values within."""
    positions, channels = layout
    random = np.random.default_rng(seed)
    x_NCL = random.normal(size=(NUM_ROWS, channels, positions)).cumsum(axis=2) / positions**0.5
    x_NCL[1] = 3.0
    x_NCL[2::3][random.random((len(x_NCL[2::3]), channels, positions)) < 0.05] = np.nan
    lengths_N = np.resize(np.arange(positions, 0, -1), NUM_ROWS)
    lengths_N[0] = 0
    x_NCL[np.broadcast_to(np.arange(positions) >= lengths_N[:, None, None], x_NCL.shape)] = np.nan
    rows_NF: np.ndarray = x_NCL.reshape(NUM_ROWS, -1)
    return rows_NF


def largest_difference(keras_outputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> float:
    """The largest difference of any output, in units of max(1, |value|); infinity where an output is missing or misshapen.

    A label counts as equal where the probabilities that decide it are within this difference of a tie: rounding may
    then decide either way. Pure.
    """
    if keras_outputs.keys() != outputs.keys():
        return float("inf")
    largest = 0.0
    for name, expected in keras_outputs.items():
        found = outputs[name]
        if found.shape != expected.shape or not np.isfinite(found).all():
            return float("inf")
        if name in (*LEVELS, "most_likely", CLASS_NUMBER):
            difference = _from_tie(name, keras_outputs["probabilities"], found != expected)
        else:
            wide = expected.astype(np.float64)
            difference = (np.abs(found - wide) / np.maximum(1.0, np.abs(wide))).max(initial=0.0)
        largest = max(largest, float(difference))
    return largest


def _from_tie(name: str, probabilities_NK: np.ndarray, differs_N: np.ndarray) -> float:
    """How far the rows whose label differs are from the tie at which rounding decides."""
    rows_MK = probabilities_NK[differs_N].astype(np.float64)
    if not len(rows_MK):
        return 0.0
    if name in LEVELS:
        cumulative = rows_MK.cumsum(axis=1)
        return float(np.abs(cumulative / cumulative[:, -1:] - LEVELS[name]).min(axis=1).max())
    best = np.sort(rows_MK, axis=1)
    return float((best[:, -1] - best[:, -2]).max())
