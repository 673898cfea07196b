"""The best that any model can do on average, from the true posterior: how far from perfect a model is becomes a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WITHIN_YEARS = 5


def best_figures(
    posterior: NDArray[np.float64], values: NDArray[np.int64], labels: NDArray[np.int32]
) -> dict[str, float]:
    """Figures of the Bayes-optimal prediction on these rows, each by the prediction that is best for it.

    `posterior` (N, K), `values` (K,) the years, `labels` (N,) class indices. accuracy: the most likely year.
    within_5: the year with most probability within 5 years. mae: the median, in years. rmse: the mean, in
    years. They are measured on these rows, so on few rows a model can be luckier.
    """
    truth = values[labels]
    most_likely = values[posterior.argmax(1)]
    median = values[(np.cumsum(posterior, axis=1) >= 0.5).argmax(1)]
    mean = posterior @ values
    near = np.abs(values[:, None] - values[None, :]) <= WITHIN_YEARS
    center = values[(posterior @ near).argmax(1)]
    return {
        "accuracy": float(np.mean(most_likely == truth)),
        "within_5": float(np.mean(np.abs(center - truth) <= WITHIN_YEARS)),
        "mae": float(np.mean(np.abs(median - truth))),
        "rmse": float(np.sqrt(np.mean((mean - truth) ** 2))),
    }
