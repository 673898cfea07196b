"""What the outputs of a model stand for. numpy only. Shape letters: N rows, K labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hvd_train.models import DEFAULT, DEFAULT_OF_VALUES, objective, point_objective

LabelKind = Literal["years", "integers", "classes", "values"]


@dataclass(frozen=True)
class OutputSpec:
    """The labels that a model predicts, and whether its outputs are a distribution over them or one value."""

    kind: LabelKind
    values: np.ndarray
    """(K,) float64: the labels where they are numbers, 0..K-1 for classes, (0,) for real values."""
    point_loss: str | None = None
    """The loss of a model that predicts one value, outputs (N, 1), or its mean and standard deviation, outputs (N, 2).
    None for a model that predicts a distribution over the labels, outputs (N, K) logits."""
    delta: float = 1.0
    """huber: the error from which the loss grows linearly, in the unit of the labels."""

    @classmethod
    def of(
        cls, kind: LabelKind, label_values: tuple[int | str, ...], loss: str = "", *, delta: float = 1.0
    ) -> OutputSpec:
        """The spec of a model that was trained with this loss; mse for real values by default."""
        numeric = kind in ("years", "integers")
        values = np.asarray(label_values if numeric else np.arange(len(label_values)), dtype=np.float64)
        loss = loss or (DEFAULT_OF_VALUES if kind == "values" else DEFAULT)
        is_point = objective(loss).predicts(kind) != "probabilities"
        return cls(kind, values, loss if is_point else None, delta)

    @property
    def predicts_distribution(self) -> bool:
        """Whether the outputs are logits over the labels, rather than one value."""
        return self.point_loss is None

    @property
    def predicts_std(self) -> bool:
        """Whether the outputs are a mean and a standard deviation (N, 2)."""
        return self.point_loss is not None and objective(self.point_loss).predicts(self.kind) == "normal"

    @property
    def best_constant_is_median(self) -> bool:
        """Whether the constant with the least loss is the median of the labels, and not their mean."""
        return self.point_loss is not None and point_objective(self.point_loss).constant == "median"

    def near(self, distance: float) -> np.ndarray:
        """(K, K): which labels are within this distance of each other."""
        return np.asarray(np.abs(self.values[:, None] - self.values[None, :]) <= distance)

    def nearest(self, values_N: np.ndarray) -> np.ndarray:
        """(N,) the label that is nearest to each value."""
        return np.asarray(self.values[np.abs(values_N[:, None] - self.values).argmin(axis=1)])

    def loss_of_errors(self, error_N: np.ndarray, std_N: np.ndarray | float = 1.0) -> np.ndarray:
        """(N,) the point loss of each error, in the unit of the labels; `std_N` are the predicted standard deviations."""
        assert self.point_loss is not None
        return point_objective(self.point_loss).row_loss(error_N, std_N, self.delta)


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) in float64."""
    shifted = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def medians(probabilities_NK: np.ndarray) -> np.ndarray:
    """(N,) index of the first label up to which there is at least half of the probability."""
    cumulative = probabilities_NK.cumsum(axis=1)
    return np.asarray((cumulative >= 0.5 * cumulative[:, -1:]).argmax(axis=1))
