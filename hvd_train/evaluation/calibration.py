"""Temperature scaling: one number that the logits are divided by, fitted on the validation split.

Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599). numpy only. Shape letters: N rows, K
labels, V virtual shards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hvd_train.evaluation.metrics import softmax

# A temperature of 1 counts as much as so many rows: a few rows that are all predicted well would ask for one of zero.
PRIOR_ROWS = 10.0
LEAST, MOST = 0.1, 10.0
NUM_NEWTON_STEPS = 20


def temperature(
    logits_NK: np.ndarray, targets_N: np.ndarray, total: Callable[[np.ndarray], np.ndarray] = lambda own: own
) -> float:
    """The temperature that makes the negative log-likelihood of all ranks' rows least.

    `total` adds up the ranks' arrays: all ranks call this together and get the same number. The likelihood is convex in
    1 / T, so Newton's method finds it.
    """
    logits = logits_NK.astype(np.float64)
    true = logits[np.arange(len(logits)), targets_N] if len(logits) else np.zeros(0)
    inverse = 1.0
    for _ in range(NUM_NEWTON_STEPS):
        probabilities = softmax(inverse * logits) if len(logits) else logits
        mean = (probabilities * logits).sum(axis=1)
        variance = (probabilities * logits**2).sum(axis=1) - mean**2
        slope, curvature = total(np.array([(mean - true).sum(), variance.sum()]))
        step = (slope + PRIOR_ROWS * (inverse - 1)) / (curvature + PRIOR_ROWS)
        inverse = float(np.clip(inverse - step, 1 / MOST, 1 / LEAST))
        if abs(step) < 1e-6:
            break
    return 1 / inverse
