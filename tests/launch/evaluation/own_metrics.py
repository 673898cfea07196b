"""Metrics from outside the package, as a user writes them."""

from __future__ import annotations

import numpy as np

from hvd_train.evaluation import Metric, Predictions


def _shares(rows: Predictions) -> np.ndarray:
    error = rows.mean - rows.truth
    return np.stack([error, error**2], axis=1)


# The built-in within_5 once more: the figures must be equal to the last digit.
near = Metric(
    name="near",
    title="near enough",
    higher_is_better=True,
    percent=True,
    label_kinds=("years", "integers"),
    row_terms=lambda rows: np.abs(rows.center(5) - rows.truth) <= 5,
)

# Two terms a row, and a figure that is no mean: the standard deviation of the errors.
spread = Metric(
    name="spread",
    title="spread of the errors",
    higher_is_better=False,
    unit="label",
    label_kinds=("years", "integers", "values"),
    row_terms=_shares,
    num_terms=2,
    figure=lambda means: float(np.sqrt(max(means[1] - means[0] ** 2, 0.0))),
)

brier = Metric(
    name="brier",
    title="Brier score",
    higher_is_better=False,
    label_kinds=("years", "integers", "classes"),
    needs_probabilities=True,
    row_terms=lambda rows: (
        (rows.probabilities**2).sum(axis=1) - 2 * rows.probabilities[np.arange(len(rows)), rows.targets] + 1
    ),
)
