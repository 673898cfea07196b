"""Where a model errs: by label, by decade, and by how often a label was seen in training.

Each rank adds up sums over its rows, and the ranks' sums are added. numpy only. Shape letters: N rows, K labels, B bins
of confidence.

Frequency groups are those of Yang et al. 2021, "Delving into deep imbalanced regression" (arXiv 2102.09554): labels
with more than 100 train rows are many-shot, with fewer than 20 few-shot, the others medium-shot.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.evaluation.baseline import TrainLabels
from hvd_train.evaluation.calibration import CONFIDENCE_BINS, calibration_error, confidence_sums
from hvd_train.evaluation.class_metrics import ClassTally
from hvd_train.evaluation.joint import JointCounts
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.evaluation.predictions import Predictions
from hvd_train.evaluation.ranks import Ranks

MANY_SHOT, FEW_SHOT = 100, 20
YEARS_OF_A_DECADE = 10
# Columns of the sums by label. The last two: rows whose decade is the most likely one, and the probability that the
# model gave to the label over all rows.
COLUMNS = ("rows", "correct", "absolute_error", "squared_error", "correct_decade", "probability")
_ROWS, _CORRECT, _ABSOLUTE, _SQUARED, _DECADE, _PROBABILITY = range(len(COLUMNS))


class Breakdown:
    """The breakdown of one evaluation: `add` each batch of this rank's rows, then `result` on all ranks together."""

    def __init__(self, spec: OutputSpec, train: TrainLabels) -> None:
        self.spec, self.train = spec, train
        self._sums = np.zeros((len(spec.values) + CONFIDENCE_BINS, len(COLUMNS)))
        self._tally = ClassTally(len(spec.values)) if spec.kind == "classes" else None
        self._joint = JointCounts(spec, train) if spec.kind != "classes" else None

    def add(self, predictions: Predictions) -> None:
        """A batch of this rank's rows. This rank alone."""
        if self.spec.kind != "values":
            self._sums += sums_by_label(predictions)
        if self._tally is not None:
            self._tally.add(predictions.outputs, predictions.targets)
        if self._joint is not None:
            self._joint.add(predictions)

    def result(self, ranks: Ranks) -> dict[str, Any]:
        """Tables over all ranks' rows, ready for JSON. All ranks; there is at least one row."""
        result: dict[str, Any] = {}
        if self.spec.kind != "values":
            result |= describe(self.spec, ranks.allreduce_sum(self._sums), self.train.counts)
        if self._joint is not None:
            result["predicted_against_true"] = self._joint.result(ranks)
        if self._tally is not None:
            result |= self._tally.result(ranks, self.train.counts, self.train.names)
        return result


def sums_by_label(predictions: Predictions) -> np.ndarray:
    """(K + B, columns): the sums of some rows by their true label, and under them by confidence."""
    spec, targets_N = predictions.spec, predictions.targets
    K = len(spec.values)
    sums = np.zeros((K + CONFIDENCE_BINS, len(COLUMNS)))
    correct = (predictions.most_likely == predictions.truth).astype(np.float64)
    terms = [np.ones(len(predictions)), correct]
    if spec.kind != "classes":
        terms += [np.abs(predictions.median - predictions.truth), (predictions.mean - predictions.truth) ** 2]
    for column, weights in enumerate(terms):
        sums[:K, column] = np.bincount(targets_N, weights, minlength=K)
    sums[:K, _DECADE] = np.bincount(targets_N, _is_decade_correct(predictions).astype(float), minlength=K)
    if spec.predicts_distribution:
        sums[:K, _PROBABILITY] = predictions.probabilities.sum(axis=0)
        sums[K:, :3] = confidence_sums(predictions.probabilities, correct)
    return sums


def _is_decade_correct(predictions: Predictions) -> np.ndarray:
    spec = predictions.spec
    if not spec.predicts_distribution:
        return np.asarray(predictions.most_likely // YEARS_OF_A_DECADE == predictions.truth // YEARS_OF_A_DECADE)
    decades, decade_of = np.unique(decades_of(spec), return_inverse=True)
    by_decade = predictions.probabilities @ (decade_of[:, None] == np.arange(len(decades)))
    return np.asarray(by_decade.argmax(axis=1) == decade_of[predictions.targets])


def decades_of(spec: OutputSpec) -> np.ndarray:
    """(K,) the first year of each label's decade; the label itself for names."""
    numeric = spec.kind in ("years", "integers")
    return np.asarray(spec.values // YEARS_OF_A_DECADE * YEARS_OF_A_DECADE if numeric else spec.values)


def describe(spec: OutputSpec, total: np.ndarray, train_counts_K: np.ndarray) -> dict[str, Any]:
    """Tables from the sums over all rows, ready for JSON; a group without rows is left out."""
    K = len(spec.values)
    by_label, by_confidence = total[:K], total[K:]
    seen = by_label[:, _ROWS] > 0
    accuracy_by_label = by_label[seen, _CORRECT] / by_label[seen, _ROWS]
    found: dict[str, Any] = {"balanced_accuracy": float(accuracy_by_label.mean())}
    if spec.kind != "classes":
        found["balanced_mae"] = float((by_label[seen, _ABSOLUTE] / by_label[seen, _ROWS]).mean())
        decades = decades_of(spec)
        found["decades"] = [
            {"decade": int(decade), **_group(spec, by_label, train_counts_K, decades == decade)}
            for decade in np.unique(decades[seen])
        ]
        found["macro_accuracy_by_decade"] = float(np.mean([row["decade_accuracy"] for row in found["decades"]]))
    groups = {
        "many": train_counts_K > MANY_SHOT,
        "medium": (train_counts_K >= FEW_SHOT) & (train_counts_K <= MANY_SHOT),
        "few": train_counts_K < FEW_SHOT,
    }
    found["shots"] = {
        name: {"labels": int((chosen & seen).sum()), **_group(spec, by_label, train_counts_K, chosen)}
        for name, chosen in groups.items()
        if (chosen & seen).any()
    }
    if spec.predicts_distribution:
        found |= calibration_error(by_confidence)
        found["predicted_rows"] = [round(float(mass), 3) for mass in by_label[:, _PROBABILITY]]
        found["rows"] = [int(rows) for rows in by_label[:, _ROWS]]
    return found


def _group(spec: OutputSpec, by_label: np.ndarray, train_counts_K: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """The figures of the rows whose label is chosen."""
    total = by_label[chosen].sum(axis=0)
    rows = total[_ROWS]
    figures = {
        "train_rows": int(train_counts_K[chosen].sum()),
        "rows": int(rows),
        "accuracy": float(total[_CORRECT] / rows),
    }
    if spec.kind == "classes":
        return figures
    return figures | {
        "decade_accuracy": float(total[_DECADE] / rows),
        "mae": float(total[_ABSOLUTE] / rows),
        "rmse": float(np.sqrt(total[_SQUARED] / rows)),
    }
