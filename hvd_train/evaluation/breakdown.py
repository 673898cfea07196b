"""Where a model errs: by label, by decade, by how often a label was seen in training; and whether its chances are true.

Sums over rows, which the ranks' sums are added to, as in `hvd_train.evaluation.metrics`; numpy only. Shape letters: N rows, K
labels, B bins of confidence.

Frequency groups are those of Yang et al. 2021, "Delving into deep imbalanced regression" (arXiv 2102.09554): labels
with more than 100 train rows are many-shot, with fewer than 20 few-shot, the others medium-shot. Expected calibration
error: Guo et al. 2017 (arXiv 1706.04599), with bins of equal width.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.evaluation import metrics
from hvd_train.evaluation.metrics import Labels

MANY_SHOT, FEW_SHOT = 100, 20
CONFIDENCE_BINS = 15
YEARS_OF_A_DECADE = 10
# Columns of the sums by label: those of a row's terms, then whether its decade is the most likely one, and the
# probability that the model gave to the label over all rows.
NUM_COLUMNS = len(metrics.COLUMNS) + 2
_ROWS, _EXACT, _ABSOLUTE, _SQUARED = (
    metrics.COLUMNS.index(name) for name in ("rows", "exact", "absolute_error", "squared_error")
)
_DECADE, _MASS = NUM_COLUMNS - 2, NUM_COLUMNS - 1


def shape(labels: Labels) -> tuple[int, int]:
    """Of the sums: K labels and B bins of confidence, one under the other."""
    return len(labels.values) + CONFIDENCE_BINS, NUM_COLUMNS


def sums(labels: Labels, outputs: np.ndarray, targets_N: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """What `describe` needs of some rows, to be added over all; see `shape`. Not for real values.

    `terms` are the rows' `metrics.row_sums`.
    """
    K = len(labels.values)
    found = np.zeros(shape(labels))
    for column in range(len(metrics.COLUMNS)):
        found[:K, column] = np.bincount(targets_N, terms[:, column], minlength=K)
    decades, decade_of = np.unique(decades_of(labels), return_inverse=True)
    if labels.point:
        right = (
            metrics.nearest(labels, outputs[:, 0]) // YEARS_OF_A_DECADE == labels.values[targets_N] // YEARS_OF_A_DECADE
        )
    else:
        probabilities = metrics.softmax(outputs)
        by_decade = probabilities @ (decade_of[:, None] == np.arange(len(decades)))
        right = by_decade.argmax(axis=1) == decade_of[targets_N]
        found[:K, _MASS] = probabilities.sum(axis=0)
        confidence = probabilities.max(axis=1)
        bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
        for column, weights in enumerate((np.ones(len(bins)), confidence, terms[:, _EXACT])):
            found[K:, column] = np.bincount(bins, weights, minlength=CONFIDENCE_BINS)
    found[:K, _DECADE] = np.bincount(targets_N, right.astype(float), minlength=K)
    return found


def decades_of(labels: Labels) -> np.ndarray:
    """(K,) the first year of each label's decade; the label itself for names."""
    numeric = labels.kind in ("years", "integers")
    return np.asarray(labels.values // YEARS_OF_A_DECADE * YEARS_OF_A_DECADE if numeric else labels.values)


def describe(labels: Labels, total: np.ndarray, train_counts_K: np.ndarray) -> dict[str, Any]:
    """Tables from the sums over all rows, ready for JSON; a group without rows is left out."""
    K = len(labels.values)
    by_label, by_confidence = total[:K], total[K:]
    seen = by_label[:, _ROWS] > 0
    accuracy_by_label = by_label[seen, _EXACT] / by_label[seen, _ROWS]
    found: dict[str, Any] = {"balanced_accuracy": float(accuracy_by_label.mean())}
    if labels.kind != "classes":
        found["balanced_mae"] = float((by_label[seen, _ABSOLUTE] / by_label[seen, _ROWS]).mean())
        decades = decades_of(labels)
        found["decades"] = [
            {"decade": int(decade), **_group(labels, by_label, train_counts_K, decades == decade)}
            for decade in np.unique(decades[seen])
        ]
        found["macro_accuracy_by_decade"] = float(np.mean([row["decade_accuracy"] for row in found["decades"]]))
    groups = {
        "many": train_counts_K > MANY_SHOT,
        "medium": (train_counts_K >= FEW_SHOT) & (train_counts_K <= MANY_SHOT),
        "few": train_counts_K < FEW_SHOT,
    }
    found["shots"] = {
        name: {"labels": int((chosen & seen).sum()), **_group(labels, by_label, train_counts_K, chosen)}
        for name, chosen in groups.items()
        if (chosen & seen).any()
    }
    if labels.point is None:
        found |= _calibration(by_confidence)
        found["predicted_rows"] = [round(float(mass), 3) for mass in by_label[:, _MASS]]
        found["rows"] = [int(rows) for rows in by_label[:, _ROWS]]
    return found


def _group(labels: Labels, by_label: np.ndarray, train_counts_K: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """The figures of the rows whose label is chosen."""
    total = by_label[chosen].sum(axis=0)
    rows = total[_ROWS]
    figures = {
        "train_rows": int(train_counts_K[chosen].sum()),
        "rows": int(rows),
        "accuracy": float(total[_EXACT] / rows),
    }
    if labels.kind == "classes":
        return figures
    return figures | {
        "decade_accuracy": float(total[_DECADE] / rows),
        "mae": float(total[_ABSOLUTE] / rows),
        "rmse": float(np.sqrt(total[_SQUARED] / rows)),
    }


def _calibration(by_confidence: np.ndarray) -> dict[str, Any]:
    """The expected calibration error of the most likely label, and the bins that it is made of."""
    rows, confidence, exact = by_confidence[:, 0], by_confidence[:, 1], by_confidence[:, 2]
    return {
        "expected_calibration_error": float(np.abs(confidence - exact).sum() / rows.sum()),
        "reliability": [
            {"rows": int(n), "confidence": float(c / n), "accuracy": float(e / n)}
            for n, c, e in zip(rows, confidence, exact, strict=True)
            if n
        ],
    }
