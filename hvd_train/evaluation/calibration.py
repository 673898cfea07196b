"""How true a model's probabilities are: temperature scaling, and the expected calibration error.

The temperature is one number that the logits are divided by, fitted on the validation split. Guo et al. 2017, "On
calibration of modern neural networks" (arXiv 1706.04599). numpy only. Shape letters: N rows, K labels, B bins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hvd_train.evaluation.output_spec import softmax

Infer = Callable[[np.ndarray], np.ndarray]

# A temperature of 1 counts as much as so many rows: a few rows that are all predicted well would ask for one of zero.
PRIOR_ROWS = 10.0
LEAST, MOST = 0.1, 10.0
NUM_NEWTON_STEPS = 20
# Bins of equal width.
CONFIDENCE_BINS = 15


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


def at_temperature(infer: Infer, temperature: float) -> Infer:
    """The same outputs with the logits divided by the temperature."""
    return infer if temperature == 1 else lambda features: infer(features) / temperature


def confidence_sums(probabilities_NK: np.ndarray, correct_N: np.ndarray) -> np.ndarray:
    """(B, 3): rows, confidence and correct rows, by the probability of the most likely label."""
    confidence = probabilities_NK.max(axis=1)
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    columns = (np.ones(len(bins)), confidence, correct_N)
    return np.stack([np.bincount(bins, weights, minlength=CONFIDENCE_BINS) for weights in columns], axis=1)


def calibration_error(by_confidence: np.ndarray) -> dict[str, Any]:
    """The expected calibration error of the most likely label, and its bins, from `confidence_sums` over all rows."""
    rows, confidence, correct = by_confidence[:, 0], by_confidence[:, 1], by_confidence[:, 2]
    return {
        "expected_calibration_error": float(np.abs(confidence - correct).sum() / rows.sum()),
        "reliability": [
            {"rows": int(n), "confidence": float(c / n), "accuracy": float(e / n)}
            for n, c, e in zip(rows, confidence, correct, strict=True)
            if n
        ],
    }
