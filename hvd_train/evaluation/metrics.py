"""Exact metrics over all ranks, each beside what a model that knows nothing scores.

A rank adds up sums over its rows, a row of sums per virtual shard; the sums of all ranks are added; `Metrics` is made
from the total. So a figure is over every row once, never a mean of the ranks' means, and the same whatever the number
of ranks. numpy only: TensorFlow's part ends with the network's outputs.

Shape letters: N rows, K outputs, V virtual shards.

| label | metrics |
|---|---|
| years, integers | loss, accuracy, within_5, mae, rmse |
| classes | loss, accuracy; of a finished model also those of `hvd_train.evaluation.class_metrics` |
| values | loss, mae, rmse |

Each metric is that of the prediction which is best for it, from one and the same distribution over the labels:
`accuracy` is the share of rows whose most likely label is the true one (never Keras' binary accuracy, which scores
1 - 1/K for a model that predicts nothing); `within_5` of those whose label lies within 5 of the one around which there
is the most probability; `mae` is that of the median, `rmse` that of the mean. A model that says one value (losses mse,
mae, huber) has that value for all four, rounded to the nearest label for the first two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

LabelKind = Literal["years", "integers", "classes", "values"]
PointLoss = Literal["mse", "mae", "huber", "gaussian"]
POINT_LOSSES = ("mse", "mae", "huber", "gaussian")

# The columns of a row of sums.
COLUMNS = ("rows", "loss", "exact", "within_5", "absolute_error", "squared_error")
WITHIN = 5
HIGHER_IS_BETTER = {
    "loss": False,
    "accuracy": True,
    "within_5": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "auc": True,
    "mae": False,
    "rmse": False,
}
SHARES = ("accuracy", "within_5", "balanced_accuracy")
"""Shown in per cent."""
TITLES = {
    "loss": "loss",
    "accuracy": "exact accuracy",
    "within_5": "within 5",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "mae": "mean abs. error",
    "rmse": "root mean sq. error",
}
# Better than the baseline by less than this share of it is not called better.
MARGIN = 1e-6


def metric_names(kind: LabelKind) -> tuple[str, ...]:
    """The metrics of this kind of label, in the order in which they are shown."""
    if kind == "values":
        return ("loss", "mae", "rmse")
    return ("loss", "accuracy") if kind == "classes" else ("loss", "accuracy", "within_5", "mae", "rmse")


@dataclass(frozen=True)
class Labels:
    """What the outputs stand for. `values` (K,) float64 are the labels where they are numbers, 0..K-1 for classes."""

    kind: LabelKind
    values: np.ndarray
    point: PointLoss | None = None
    """The loss of a model that says one value (N, 1) (gaussian for real values: mean and deviation (N, 2)); None for one
    that says a distribution over the labels (N, K)."""
    delta: float = 1.0
    """huber: from which error on it grows linearly, in the labels' units."""

    @property
    def near(self) -> np.ndarray:
        """(K, K): which labels are within 5 of each other."""
        return np.asarray(np.abs(self.values[:, None] - self.values[None, :]) <= WITHIN)

    @classmethod
    def of(cls, kind: LabelKind, label_values: tuple[int | str, ...], loss: str = "", *, delta: float = 1.0) -> Labels:
        """For a model trained with this loss; mse for real values by default."""
        numeric = kind in ("years", "integers")
        values = np.asarray(label_values if numeric else np.arange(len(label_values)), dtype=np.float64)
        says_value = loss in POINT_LOSSES if kind == "values" else loss in ("mse", "mae", "huber")
        point = loss if says_value else "mse" if kind == "values" else None
        return cls(kind, values, point, delta)  # type: ignore[arg-type]


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) in float64."""
    shifted = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def point_loss(labels: Labels, error_N: np.ndarray, deviation_N: np.ndarray | float = 1.0) -> np.ndarray:
    """The loss of each row by the model's own measure, in the labels' units; `deviation_N` for gaussian alone."""
    if labels.point == "mae":
        return np.asarray(np.abs(error_N))
    if labels.point == "huber":
        size = np.abs(error_N)
        return np.asarray(np.where(size <= labels.delta, 0.5 * error_N**2, labels.delta * (size - 0.5 * labels.delta)))
    if labels.point == "gaussian":
        return np.asarray(0.5 * (error_N / deviation_N) ** 2 + np.log(deviation_N) + 0.5 * np.log(2 * np.pi))
    return np.asarray(error_N**2)


def row_sums(labels: Labels, outputs: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """The per-row terms (N, len(COLUMNS)) float64 of one batch.

    `outputs` (N, K) are logits and `targets_N` class indices; of a model that says one value, `outputs` (N, 1) are
    values (gaussian: (N, 2) with deviations), and for real values `targets_N` are those.
    """
    return _point_terms(labels, outputs, targets_N) if labels.point else _label_terms(labels, outputs, targets_N)


def _point_terms(labels: Labels, outputs: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    terms = np.zeros((len(targets_N), len(COLUMNS)))
    said = outputs[:, 0].astype(np.float64)
    truth = targets_N if labels.kind == "values" else labels.values[targets_N]
    error = said - truth
    deviation = outputs[:, 1].astype(np.float64) if labels.point == "gaussian" else 1.0
    terms[:, 0] = 1
    terms[:, 1] = point_loss(labels, error, deviation)
    if labels.kind != "values":
        label = nearest(labels, said)
        terms[:, 2] = label == truth
        terms[:, 3] = np.abs(label - truth) <= WITHIN
    terms[:, 4] = np.abs(error)
    terms[:, 5] = error**2
    return terms


def _label_terms(labels: Labels, logits_NK: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    terms = np.zeros((len(targets_N), len(COLUMNS)))
    terms[:, 0] = 1
    logits = logits_NK.astype(np.float64)
    largest = logits.max(axis=1)
    terms[:, 1] = (
        np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest - logits[np.arange(len(logits)), targets_N]
    )
    terms[:, 2] = logits.argmax(axis=1) == targets_N
    if labels.kind != "classes":
        truth = labels.values[targets_N]
        probabilities = softmax(logits)
        center = labels.values[(probabilities @ labels.near).argmax(axis=1)]
        terms[:, 3] = np.abs(center - truth) <= WITHIN
        terms[:, 4] = np.abs(labels.values[medians(probabilities)] - truth)
        terms[:, 5] = (probabilities @ labels.values - truth) ** 2
    return terms


def nearest(labels: Labels, said_N: np.ndarray) -> np.ndarray:
    """(N,) the label that is nearest to each value."""
    return np.asarray(labels.values[np.abs(said_N[:, None] - labels.values).argmin(axis=1)])


def medians(probabilities_NK: np.ndarray) -> np.ndarray:
    """(N,) index of the first label up to which there is at least half of the probability."""
    cumulative = probabilities_NK.cumsum(axis=1)
    return np.asarray((cumulative >= 0.5 * cumulative[:, -1:]).argmax(axis=1))


def sums_by_shard(terms: np.ndarray, shard_starts: np.ndarray) -> np.ndarray:
    """Sums (shards, len(COLUMNS)) of per-row terms; `shard_starts` (shards,) are the shards' first rows."""
    ends = np.append(shard_starts[1:], len(terms))
    return np.stack([terms[a:b].sum(axis=0) for a, b in zip(shard_starts, ends, strict=True)])


def from_sums(kind: LabelKind, sums: np.ndarray) -> dict[str, float]:
    """Metrics by name from sums (V, len(COLUMNS)) or (len(COLUMNS),) over all rows; NaN where there is no row."""
    total = dict(zip(COLUMNS, np.atleast_2d(sums).sum(axis=0), strict=True))
    rows = total["rows"] or np.nan
    every = {
        "loss": total["loss"] / rows,
        "accuracy": total["exact"] / rows,
        "within_5": total["within_5"] / rows,
        "mae": total["absolute_error"] / rows,
        "rmse": float(np.sqrt(total["squared_error"] / rows)),
    }
    return {name: float(every[name]) for name in metric_names(kind)}


@dataclass(frozen=True)
class Baseline:
    """The best a model can do without looking at the features: constants taken from the train split."""

    most_common: int
    """Index of the most common label."""
    best_window: int
    """Index of the label with the most rows within 5 of it."""
    mean: float
    median: float
    log_frequency: np.ndarray
    """(K,) logarithm of each label's share, with one row added to each so that none is impossible."""

    @classmethod
    def of(cls, labels: Labels, train_counts: np.ndarray) -> Baseline:
        """From the number of train rows of each label (K,)."""
        share = train_counts / train_counts.sum()
        return cls(
            most_common=int(train_counts.argmax()),
            best_window=int((labels.near @ train_counts).argmax()),
            mean=float(share @ labels.values),
            median=float(labels.values[np.searchsorted(np.cumsum(share), 0.5)]),
            log_frequency=np.log((train_counts + 1) / (train_counts + 1).sum()),
        )

    def metrics(self, labels: Labels, counts: np.ndarray) -> dict[str, float]:
        """What the constants score on rows with these label counts (K,)."""
        share = counts / counts.sum()
        distance = np.abs(labels.values - labels.values[self.best_window])
        error = (self.median if labels.point in ("mae", "huber") else self.mean) - labels.values
        every = {
            "loss": float(share @ point_loss(labels, error) if labels.point else -share @ self.log_frequency),
            "accuracy": float(share[self.most_common]),
            "within_5": float(share @ (distance <= WITHIN)),
            "mae": float(share @ np.abs(labels.values - self.median)),
            "rmse": float(np.sqrt(share @ (labels.values - self.mean) ** 2)),
        }
        return {name: every[name] for name in metric_names(labels.kind)}


def value_baseline(labels: Labels, mean: float, median: float, deviation: float, targets_N: np.ndarray) -> np.ndarray:
    """Sums (len(COLUMNS),) of predicting the train mean (rmse) and the train median (mae) for real values, with the
    better of the two for the loss."""
    error = mean - targets_N.astype(np.float64)
    squared = (error**2).sum()
    absolute = np.abs(median - targets_N.astype(np.float64)).sum()
    at = median if labels.point in ("mae", "huber") else mean
    loss = point_loss(labels, at - targets_N.astype(np.float64), deviation).sum()
    return np.array([len(targets_N), loss, 0, 0, absolute, squared], dtype=np.float64)


def beats(name: str, value: float, baseline: float) -> bool:
    """Whether a model's figure is better than the baseline's. NaN beats nothing."""
    margin = MARGIN * abs(baseline)
    return value > baseline + margin if HIGHER_IS_BETTER[name] else value < baseline - margin


def verdict(metrics: dict[str, float], baseline: dict[str, float]) -> str:
    """In words: whether the model has learnt anything, and in which metrics it has not."""
    worse = [name for name in metrics if not beats(name, metrics[name], baseline[name])]
    if not worse:
        return "better than the trivial baseline in every metric"
    names = ", ".join(TITLES[name] for name in worse)
    if len(worse) == len(metrics):
        return "NO BETTER THAN THE TRIVIAL BASELINE in any metric: this model has learnt nothing of use"
    return f"no better than the trivial baseline in: {names}"
