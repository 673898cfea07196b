"""Where a model errs, besides the metrics: collected batch by batch on each rank, joined over all at the end. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_train.evaluation import breakdown
from hvd_train.evaluation.class_metrics import ClassTally, Ranks
from hvd_train.evaluation.metrics import Labels


class Details:
    """One evaluation's: `add` each batch of this rank's rows, then `result` on all ranks together."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._sums = None if labels.kind == "values" else np.zeros(breakdown.shape(labels))
        self._tally = ClassTally(len(labels.values)) if labels.kind == "classes" else None

    def add(self, outputs: np.ndarray, targets_N: np.ndarray, terms: np.ndarray) -> None:
        """A batch: outputs (N, K) or values (N, 1), targets, and its `metrics.row_sums`. This rank alone."""
        if self._sums is not None:
            self._sums += breakdown.sums(self.labels, outputs, targets_N, terms)
        if self._tally is not None:
            self._tally.add(outputs, targets_N)

    def result(self, world: Ranks, train_counts_K: np.ndarray, names: Sequence[Any]) -> dict[str, Any]:
        """Over all ranks' rows, ready for JSON; empty for real values. All ranks; there is at least one row.

        `names` (K,) are what the outputs stand for.
        """
        if self._sums is None:
            return {}
        found = breakdown.describe(self.labels, world.allreduce_sum(self._sums), train_counts_K)
        if self._tally is not None:
            found |= self._tally.result(world, train_counts_K, names)
        return found
