"""How many rows have which true and which predicted label: a grid over the range of the labels. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.evaluation.baseline import TrainLabels
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.evaluation.predictions import Predictions
from hvd_train.evaluation.ranks import Ranks

NUM_BINS = 32
# Of real values the range is that of the train split's mean and so many standard deviations on both sides.
DEVIATIONS = 3.0


class JointCounts:
    """Rows by true label and by the mean of the prediction. What lies outside of the range counts in the bin at its edge."""

    def __init__(self, spec: OutputSpec, train: TrainLabels) -> None:
        self._edges = edges_of(spec, train)
        bins = len(self._edges) - 1
        self._rows = np.zeros((bins, bins))

    def add(self, predictions: Predictions) -> None:
        """A batch of this rank's rows. This rank alone."""
        np.add.at(self._rows, (self._bins(predictions.truth), self._bins(predictions.mean)), 1)

    def result(self, ranks: Ranks) -> dict[str, Any]:
        """The edges, and rows[true][predicted], ready for JSON. All ranks."""
        rows = ranks.allreduce_sum(self._rows)
        return {"edges": [float(edge) for edge in self._edges], "rows": rows.astype(int).tolist()}

    def _bins(self, values: np.ndarray) -> np.ndarray:
        # A model that has diverged predicts what is no number: it counts at the lower edge.
        known = np.nan_to_num(values, nan=self._edges[0])
        return np.asarray(np.clip(np.searchsorted(self._edges, known, "right") - 1, 0, len(self._edges) - 2))


def edges_of(spec: OutputSpec, train: TrainLabels) -> np.ndarray:
    """(bins + 1,) ascending. Integer labels lie in the middle of bins of equal width."""
    if spec.kind == "values":
        reach = DEVIATIONS * (train.std or 1.0)
        return np.linspace(train.mean - reach, train.mean + reach, NUM_BINS + 1)
    low, high = float(spec.values.min()) - 0.5, float(spec.values.max()) + 0.5
    width = np.ceil((high - low) / NUM_BINS)
    return np.asarray(low + width * np.arange(int(np.ceil((high - low) / width)) + 1))
