"""What the outputs of a model stand for. numpy only. Shape letters: N rows, K labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

LabelKind = Literal["years", "integers", "classes", "values"]
PointLoss = Literal["mse", "mae", "huber", "gaussian"]
POINT_LOSSES = ("mse", "mae", "huber", "gaussian")


@dataclass(frozen=True)
class OutputSpec:
    """The labels that a model predicts, and whether its outputs are a distribution over them or one value."""

    kind: LabelKind
    values: np.ndarray
    """(K,) float64: the labels where they are numbers, 0..K-1 for classes, (0,) for real values."""
    point_loss: PointLoss | None = None
    """The loss of a model that predicts one value, outputs (N, 1); for gaussian the mean and the standard deviation,
    outputs (N, 2). None for a model that predicts a distribution over the labels, outputs (N, K) logits."""
    delta: float = 1.0
    """huber: the error from which the loss grows linearly, in the unit of the labels."""

    @classmethod
    def of(
        cls, kind: LabelKind, label_values: tuple[int | str, ...], loss: str = "", *, delta: float = 1.0
    ) -> OutputSpec:
        """The spec of a model that was trained with this loss; mse for real values by default."""
        numeric = kind in ("years", "integers")
        values = np.asarray(label_values if numeric else np.arange(len(label_values)), dtype=np.float64)
        is_point = loss in POINT_LOSSES if kind == "values" else loss in ("mse", "mae", "huber")
        point_loss = loss if is_point else "mse" if kind == "values" else None
        return cls(kind, values, point_loss, delta)  # type: ignore[arg-type]

    @property
    def predicts_distribution(self) -> bool:
        """Whether the outputs are logits over the labels, rather than one value."""
        return self.point_loss is None

    def near(self, distance: float) -> np.ndarray:
        """(K, K): which labels are within this distance of each other."""
        return np.asarray(np.abs(self.values[:, None] - self.values[None, :]) <= distance)

    def nearest(self, values_N: np.ndarray) -> np.ndarray:
        """(N,) the label that is nearest to each value."""
        return np.asarray(self.values[np.abs(values_N[:, None] - self.values).argmin(axis=1)])

    def loss_of_errors(self, error_N: np.ndarray, std_N: np.ndarray | float = 1.0) -> np.ndarray:
        """(N,) the point loss of each error, in the unit of the labels; `std_N` is for gaussian alone."""
        if self.point_loss == "mae":
            return np.asarray(np.abs(error_N))
        if self.point_loss == "huber":
            size, delta = np.abs(error_N), self.delta
            return np.asarray(np.where(size <= delta, 0.5 * error_N**2, delta * (size - 0.5 * delta)))
        if self.point_loss == "gaussian":
            return np.asarray(0.5 * (error_N / std_N) ** 2 + np.log(std_N) + 0.5 * np.log(2 * np.pi))
        return np.asarray(error_N**2)


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) in float64."""
    shifted = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def medians(probabilities_NK: np.ndarray) -> np.ndarray:
    """(N,) index of the first label up to which there is at least half of the probability."""
    cumulative = probabilities_NK.cumsum(axis=1)
    return np.asarray((cumulative >= 0.5 * cumulative[:, -1:]).argmax(axis=1))
