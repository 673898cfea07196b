"""Exact metrics over all ranks, each beside what a model that knows nothing scores.

A rank adds up sums over its rows, a row of sums per virtual shard; the sums of all ranks are added; `Metrics` is made
from the total. So a figure is over every row once, never a mean of the ranks' means, and the same whatever the number
of ranks. numpy only: TensorFlow's part ends with the network's outputs.

Shape letters: N rows, K outputs, V virtual shards.

| label | metrics |
|---|---|
| years, integers | loss, accuracy, within_5, mae, rmse |
| classes | loss, accuracy |
| values | loss, mae, rmse |

`accuracy` is the share of rows whose most likely label is the true one: never Keras' binary accuracy, which scores
1 - 1/K for a model that predicts nothing. `mae` and `rmse` are those of the expected label under the softmax;
`within_5` is the share of rows whose label lies within 5 of the one around which the softmax puts the most probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

LabelKind = Literal["years", "integers", "classes", "values"]

# The columns of a row of sums.
COLUMNS = ("rows", "loss", "exact", "within_5", "absolute_error", "squared_error")
WITHIN = 5
HIGHER_IS_BETTER = {"loss": False, "accuracy": True, "within_5": True, "mae": False, "rmse": False}
TITLES = {
    "loss": "loss",
    "accuracy": "exact accuracy",
    "within_5": "within 5",
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

    @property
    def near(self) -> np.ndarray:
        """(K, K): which labels are within 5 of each other."""
        return np.asarray(np.abs(self.values[:, None] - self.values[None, :]) <= WITHIN)

    @classmethod
    def of(cls, kind: LabelKind, label_values: tuple[int | str, ...]) -> Labels:
        numeric = kind in ("years", "integers")
        values = np.asarray(label_values if numeric else np.arange(len(label_values)), dtype=np.float64)
        return cls(kind, values)


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) in float64."""
    shifted = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def row_sums(labels: Labels, outputs_NK: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """The per-row terms (N, len(COLUMNS)) float64 of one batch.

    `outputs_NK` are logits and `targets_N` class indices; for values, predictions (N, 1) and true values (N,).
    """
    terms = np.zeros((len(targets_N), len(COLUMNS)))
    terms[:, 0] = 1
    if labels.kind == "values":
        error = outputs_NK[:, 0].astype(np.float64) - targets_N
        terms[:, 1] = terms[:, 5] = error**2
        terms[:, 4] = np.abs(error)
        return terms
    logits = outputs_NK.astype(np.float64)
    largest = logits.max(axis=1)
    terms[:, 1] = (
        np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest - logits[np.arange(len(logits)), targets_N]
    )
    likeliest = logits.argmax(axis=1)
    terms[:, 2] = likeliest == targets_N
    if labels.kind != "classes":
        truth = labels.values[targets_N]
        probabilities = softmax(logits)
        error = probabilities @ labels.values - truth
        center = labels.values[(probabilities @ labels.near).argmax(axis=1)]
        terms[:, 3] = np.abs(center - truth) <= WITHIN
        terms[:, 4] = np.abs(error)
        terms[:, 5] = error**2
    return terms


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
        every = {
            "loss": float(-share @ self.log_frequency),
            "accuracy": float(share[self.most_common]),
            "within_5": float(share @ (distance <= WITHIN)),
            "mae": float(share @ np.abs(labels.values - self.median)),
            "rmse": float(np.sqrt(share @ (labels.values - self.mean) ** 2)),
        }
        return {name: every[name] for name in metric_names(labels.kind)}


def value_baseline(mean: float, median: float, targets_N: np.ndarray) -> np.ndarray:
    """Sums (len(COLUMNS),) of predicting the train mean (loss, rmse) and the train median (mae) for real values."""
    squared = ((targets_N - mean) ** 2).sum(dtype=np.float64)
    absolute = np.abs(targets_N - median).sum(dtype=np.float64)
    return np.array([len(targets_N), squared, 0, 0, absolute, squared], dtype=np.float64)


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
