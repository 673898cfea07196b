"""What a model predicts for some rows, decoded from its outputs, beside the true labels: what metrics are computed from.

numpy only. Shape letters: N rows, K labels.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hvd_train.evaluation.output_spec import OutputSpec, medians, softmax


class Predictions:
    """Some rows. Each array is computed when it is first read.

    Each metric reads the prediction that is best for it: `accuracy` the most likely label, `mae` the median, `rmse` the
    mean, all of one distribution. A model that predicts one value has that value for all of them.
    """

    def __init__(self, spec: OutputSpec, outputs: np.ndarray, targets_N: np.ndarray) -> None:
        """`outputs` (N, K) logits or (N, 1) values (gaussian: (N, 2) with standard deviations).

        `targets_N` are class indices, or for real values the labels themselves.
        """
        self.spec, self.outputs, self.targets = spec, outputs, targets_N

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def truth(self) -> np.ndarray:
        """(N,) float64: the true labels as numbers; for classes their index."""
        if self.spec.kind == "values":
            return self.targets.astype(np.float64)
        return np.asarray(self.spec.values[self.targets])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(N, K) float64. Raises ValueError for a model that predicts one value."""
        if not self.spec.predicts_distribution:
            raise ValueError(
                f"a model with the loss {self.spec.point_loss} predicts one value for a row, no probabilities"
            )
        return softmax(self.outputs)

    @cached_property
    def value(self) -> np.ndarray:
        """(N,) float64: the prediction of a model that predicts one value."""
        return np.asarray(self.outputs[:, 0].astype(np.float64))

    @cached_property
    def most_likely(self) -> np.ndarray:
        """(N,) the most likely label, or the label nearest to the value. Not for real values."""
        if self.spec.predicts_distribution:
            return np.asarray(self.spec.values[self.outputs.argmax(axis=1)])
        return self.spec.nearest(self.value)

    @cached_property
    def median(self) -> np.ndarray:
        """(N,) the median of the distribution, or the value."""
        if self.spec.predicts_distribution:
            return np.asarray(self.spec.values[medians(self.probabilities)])
        return self.value

    @cached_property
    def mean(self) -> np.ndarray:
        """(N,) the mean of the distribution, or the value."""
        return np.asarray(self.probabilities @ self.spec.values) if self.spec.predicts_distribution else self.value

    @cached_property
    def standard_deviation(self) -> np.ndarray | float:
        """(N,) of a model that predicts it, else 1."""
        return self.outputs[:, 1].astype(np.float64) if self.spec.predicts_std else 1.0

    def center(self, distance: float) -> np.ndarray:
        """(N,) the label with the most probability within this distance of it, or the label nearest to the value."""
        if self.spec.predicts_distribution:
            return np.asarray(self.spec.values[(self.probabilities @ self.spec.near(distance)).argmax(axis=1)])
        return self.most_likely

    @cached_property
    def loss(self) -> np.ndarray:
        """(N,) the negative log-likelihood of the true label, or the point loss in the unit of the labels."""
        if not self.spec.predicts_distribution:
            return self.spec.loss_of_errors(self.value - self.truth, self.standard_deviation)
        logits = self.outputs.astype(np.float64)
        largest = logits.max(axis=1)
        of_truth = logits[np.arange(len(logits)), self.targets]
        return np.asarray(np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest - of_truth)
