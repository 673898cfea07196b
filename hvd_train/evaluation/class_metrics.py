"""Metrics for classes that are not equally common: recall by class, balanced accuracy, macro F1, AUC, confusion matrix.

Exact over all ranks: counts are whole numbers, which ranks add up; AUC is computed from every row's score, which ranks
gather. numpy only. Shape letters: N rows, K classes.

| figure | definition |
|---|---|
| recall, precision | of a class's rows, the share that is predicted as it; of the rows predicted as it, the share that is |
| balanced accuracy | the mean recall over the classes that have rows |
| macro F1 | the mean of 2 PR / (P + R) over the classes that have rows or predictions |
| AUC | the probability that a row of the class has a higher score than one that is not, ties counting half (one against the rest); the mean over classes that have both |

These are the definitions of scikit-learn's balanced_accuracy_score, f1_score(average="macro") and roc_auc_score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hvd_train.evaluation.ranks import Ranks

# A matrix of more classes is not kept: a megabyte of numbers that nobody reads. Recall and the rest are, for any number.
MOST_CLASSES_OF_A_MATRIX = 500
# Scores of more rows times classes are not gathered (256 MiB on each rank), and there is no AUC.
MOST_SCORES = 1 << 26
# Scores gathered at once.
BLOCK_SCORES = 1 << 22
MOST_CONFUSED = 20


@dataclass(eq=False)
class ClassTally:
    """What a rank adds up over its rows. `result` joins all ranks'."""

    num_classes: int
    with_areas: bool = True
    """Whether the areas under the ROC curves are wanted, for which ranks keep and gather every score."""
    counts: np.ndarray = field(init=False)
    """(K, K) rows by true and predicted class; (3, K) rows, predicted and right of each class where K is large."""
    log_odds: list[np.ndarray] | None = field(init=False, default_factory=list)
    """(n, K) float32 of each batch: a score that orders rows as the probability does, but does not saturate at 1.
    None where there are too many."""
    targets: list[np.ndarray] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        K = self.num_classes
        self.counts = np.zeros((K, K) if self.has_matrix else (3, K), np.int64)
        if not self.with_areas:
            self.log_odds = None

    @property
    def has_matrix(self) -> bool:
        return self.num_classes <= MOST_CLASSES_OF_A_MATRIX

    def add(self, logits_NK: np.ndarray, targets_N: np.ndarray) -> None:
        """Count a batch. `targets_N` are class indices."""
        K = self.num_classes
        predicted = logits_NK.argmax(axis=1)
        if self.has_matrix:
            self.counts += np.bincount(targets_N * K + predicted, minlength=K * K).reshape(K, K)
        else:
            right = targets_N[predicted == targets_N]
            self.counts += np.stack([np.bincount(some, minlength=K) for some in (targets_N, predicted, right)])
        self.targets.append(targets_N)
        if self.log_odds is not None:
            self.log_odds.append(log_odds(logits_NK))
            if sum(map(len, self.targets)) * K > MOST_SCORES:
                self.log_odds = None

    def result(self, ranks: Ranks, train_counts_K: np.ndarray, names: Sequence[Any]) -> dict[str, Any]:
        """The figures of all ranks' rows, ready for JSON. All ranks call it together and get the same."""
        total = np.rint(ranks.allreduce_sum(self.counts.astype(np.float64))).astype(np.int64)
        areas = self._areas(ranks)
        if self.has_matrix:
            rows, predicted, right = total.sum(axis=1), total.sum(axis=0), total.diagonal()
        else:
            rows, predicted, right = total
        classes = [
            {
                "label": names[k] if k < len(names) else k,
                "train_rows": int(train_counts_K[k]),
                "rows": int(rows[k]),
                "predicted": int(predicted[k]),
                "recall": _share(right[k], rows[k]),
                "precision": _share(right[k], predicted[k]),
                "f1": _share(2 * right[k], rows[k] + predicted[k]),
                "auc": areas[k],
            }
            for k in range(self.num_classes)
        ]
        found: dict[str, Any] = {"classes": classes}
        if self.has_matrix:
            found |= {"confusion": total.tolist(), "most_confused": most_confused(total, classes)}
        return found

    def _areas(self, ranks: Ranks) -> list[float | None]:
        """The area under each class's ROC curve; None where it has no rows, or nothing else has. All ranks."""
        K = self.num_classes
        if not self.with_areas:
            return [None] * K
        targets = np.concatenate([*self.targets, np.zeros(0, np.int64)])
        own = None if self.log_odds is None else np.concatenate([*self.log_odds, np.zeros((0, K), np.float32)])
        gathered = ranks.allgather((targets, own is not None))
        num_scores = sum(len(some) for some, _ in gathered) * K
        if own is None or not all(complete for _, complete in gathered) or num_scores > MOST_SCORES:
            return [None] * K
        every = np.concatenate([some for some, _ in gathered])
        areas: list[float | None] = []
        for block in np.array_split(np.arange(K), -(-num_scores // BLOCK_SCORES) or 1):
            scores = np.concatenate(ranks.allgather(np.ascontiguousarray(own[:, block])))
            areas += [area_under_roc(scores[:, i], every == k) for i, k in enumerate(block)]
        return areas


def log_odds(logits_NK: np.ndarray) -> np.ndarray:
    """(N, K) float32: the logarithm of p / (1 - p) of each class, from the logits."""
    logits = logits_NK.astype(np.float64)
    rows, likeliest = np.arange(len(logits)), logits.argmax(axis=1)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    with np.errstate(divide="ignore"):  # the likeliest class alone, where all others are far below
        rest = np.log(exponentials.sum(axis=1, keepdims=True) - exponentials)
        found = logits - logits.max(axis=1, keepdims=True) - rest
        # Of the likeliest class that difference would cancel: the others are summed by themselves.
        others = logits.copy()
        others[rows, likeliest] = -np.inf
        largest = others.max(axis=1)
        found[rows, likeliest] = (
            logits[rows, likeliest] - largest - np.log(np.exp(others - largest[:, None]).sum(axis=1))
        )
    return np.asarray(found, dtype=np.float32)


def area_under_roc(scores_N: np.ndarray, positive_N: np.ndarray) -> float | None:
    """The share of (positive, negative) pairs in which the positive has the higher score; a tie counts half.

    Computed from whole numbers, so the order of the rows does not matter. None without a pair.
    """
    positives, negatives = scores_N[positive_N], np.sort(scores_N[~positive_N])
    if not len(positives) or not len(negatives):
        return None
    below = int(np.searchsorted(negatives, positives, side="left").sum())
    not_above = int(np.searchsorted(negatives, positives, side="right").sum())
    return (below + not_above) / (2 * len(positives) * len(negatives))


def most_confused(counts_KK: np.ndarray, classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs of true and predicted class with the most wrong rows, the first the most frequent."""
    wrong = counts_KK - np.diag(counts_KK.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(cell), len(classes)) for cell in order if wrong.flat[cell]]
    return [
        {"label": classes[true]["label"], "predicted": classes[predicted]["label"], "rows": int(wrong[true, predicted])}
        for true, predicted in pairs
    ]


def balanced_accuracy(classes: list[dict[str, Any]]) -> tuple[float, float]:
    """The figure, and that of always predicting the most common class of the train split. Pure."""
    seen, common = [row for row in classes if row["rows"]], _most_common(classes)
    return sum(row["recall"] for row in seen) / len(seen), (1.0 if common in seen else 0.0) / len(seen)


def macro_f1(classes: list[dict[str, Any]]) -> tuple[float, float]:
    """The figure, and that of always predicting the most common class of the train split. Pure."""
    seen, common = [row for row in classes if row["rows"]], _most_common(classes)
    num_rows = sum(row["rows"] for row in classes)
    num_judged = sum(1 for row in classes if row["rows"] or row["predicted"])
    num_judged_then = len(seen) + (common not in seen)
    baseline = 2 * common["rows"] / (common["rows"] + num_rows) / num_judged_then
    return sum(row["f1"] or 0.0 for row in classes) / num_judged, baseline


def auc(classes: list[dict[str, Any]]) -> tuple[float, float] | None:
    """The figure, and that of equal scores for all rows; None where no class has one. Pure."""
    areas = [row["auc"] for row in classes if row["auc"] is not None]
    return (sum(areas) / len(areas), 0.5) if areas else None


def _most_common(classes: list[dict[str, Any]]) -> dict[str, Any]:
    return max(classes, key=lambda row: row["train_rows"])


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
