"""The trivial baseline: what the best constant predictions score, taken from the labels of the train split alone.

The only place where it is computed: for the report of a run, for `evaluate`, and for `hvd-train data describe`. numpy
only. Shape letters: N rows, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hvd_train.config import Split
from hvd_train.data import Dataset
from hvd_train.evaluation.metric import Metric
from hvd_train.evaluation.metrics import MetricSet
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.evaluation.predictions import Predictions
from hvd_train.evaluation.ranks import Ranks

# Rows of constant predictions that are held at once.
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class TrainLabels:
    """What is known of the labels of the train split."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(K,) rows of each label; (0,) for real values."""
    mean: float = 0.0
    median: float = 0.0
    std: float = 1.0
    """Mean, median and standard deviation of real values."""
    names: tuple[Any, ...] = ()
    """(K,) the labels as the user wrote them."""

    @classmethod
    def of(cls, dataset: Dataset) -> TrainLabels:
        statistics = dataset.statistics
        return cls(
            dataset.label_counts("train"),
            statistics.label_mean or 0.0,
            statistics.label_median or 0.0,
            statistics.label_std or 1.0,
            dataset.schema.label_values,
        )


def log_frequency(counts_K: np.ndarray) -> np.ndarray:
    """(K,) logarithm of the share of each label, with one row added to each so that none is impossible."""
    return np.asarray(np.log((counts_K + 1) / (counts_K + 1).sum()))


@dataclass(frozen=True)
class Constants:
    """The best predictions that look at no feature."""

    spec: OutputSpec
    train: TrainLabels
    most_common: float
    """The label with the most rows."""
    mean: float
    median: float

    @classmethod
    def of(cls, spec: OutputSpec, train: TrainLabels) -> Constants:
        if spec.kind == "values":
            return cls(spec, train, np.nan, train.mean, train.median)
        share = train.counts / train.counts.sum()
        return cls(
            spec,
            train,
            most_common=float(spec.values[train.counts.argmax()]),
            mean=float(share @ spec.values),
            median=float(spec.values[np.searchsorted(np.cumsum(share), 0.5)]),
        )

    @property
    def most_common_name(self) -> Any:
        return self.train.names[int(self.train.counts.argmax())]

    def center(self, distance: float) -> float:
        """The label with the most rows within this distance of it."""
        return float(self.spec.values[(self.spec.near(distance) @ self.train.counts).argmax()])

    @property
    def value(self) -> float:
        """The constant with the least loss, of a model that predicts one value."""
        return self.median if self.spec.best_constant_is_median else self.mean

    def loss(self, truth: np.ndarray) -> np.ndarray:
        """(n,) the loss at these true labels; of a distribution, `truth` is all K labels in their order."""
        if self.spec.predicts_distribution:
            return -log_frequency(self.train.counts)
        return self.spec.loss_of_errors(self.value - truth, self.train.std)

    def predictions(self, targets_N: np.ndarray) -> Predictions:
        """The train split's label distribution, or its best constant value, predicted for these rows."""
        if self.spec.predicts_distribution:
            # One row, spread over all labels, so that none is impossible.
            row = np.log((self.train.counts + 1 / len(self.train.counts)) / (self.train.counts.sum() + 1))
        elif self.spec.predicts_std:
            row = np.array([self.mean, self.train.std])
        else:
            row = np.array([self.value])
        return Predictions(self.spec, np.broadcast_to(row, (len(targets_N), len(row))), targets_N)


def baselines(
    metrics: MetricSet, train: TrainLabels, targets_N: np.ndarray, ranks: Ranks | None = None
) -> dict[str, float]:
    """What the constants score on rows with these targets, by metric.

    With `ranks` all of them call this together, each with the targets of its own rows.
    """
    if metrics.spec.kind != "values":
        counts = np.bincount(targets_N.astype(np.int64), minlength=len(metrics.spec.values)).astype(np.float64)
        return baselines_of_counts(metrics, train, ranks.allreduce_sum(counts) if ranks else counts)
    constants = Constants.of(metrics.spec, train)

    def own_sums() -> np.ndarray:
        sums = [np.atleast_1d(_terms(metric, constants, targets_N).sum(axis=0)) for metric in metrics.of_rows]
        return np.concatenate([[len(targets_N)], *sums]).astype(np.float64)

    # Together: the terms of a user's metric may fail on one rank alone.
    own = ranks.together(own_sums) if ranks else own_sums()
    assert own is not None
    return metrics.figures(ranks.allreduce_sum(own) if ranks else own)


def baselines_of_counts(metrics: MetricSet, train: TrainLabels, counts_K: np.ndarray) -> dict[str, float]:
    """The same from how many rows have each label, over all ranks. Not for real values. Pure."""
    constants = Constants.of(metrics.spec, train)
    share, even = counts_K / counts_K.sum(), (counts_K > 0) / (counts_K > 0).sum()
    weighted = [*((metric, share) for metric in metrics.of_rows), *((metric, even) for metric in metrics.of_labels)]
    means = [np.atleast_1d(weights @ _terms(metric, constants, np.arange(len(share)))) for metric, weights in weighted]
    return metrics.from_means(np.concatenate(means))


def _terms(metric: Metric, constants: Constants, targets_N: np.ndarray) -> np.ndarray:
    """The metric's terms of its best constant: (N,), or (N, num_terms) where there are several."""
    if metric.baseline_terms is not None:
        truth = Predictions(constants.spec, np.zeros((0, 0)), targets_N).truth
        return np.asarray(metric.baseline_terms(constants, truth), np.float64)
    assert metric.row_terms is not None
    blocks = np.array_split(targets_N, -(-len(targets_N) // ROWS_AT_ONCE) or 1)
    terms = [np.asarray(metric.row_terms(constants.predictions(block)), np.float64) for block in blocks]
    joined = np.concatenate(terms)
    return joined.reshape(len(targets_N)) if metric.num_terms == 1 else joined


def describe_baselines(dataset: Dataset) -> str:
    """The figures of constants on val and test, a line each, beside the best possible where that is known."""
    spec = OutputSpec.of(dataset.schema.label_kind, dataset.schema.label_values)
    metrics, train = MetricSet.of(spec), TrainLabels.of(dataset)
    constants = Constants.of(spec, train)
    lines = ["Trivial baselines (chosen on the train split alone)"]
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        best = dataset.optimum(split) or {}
        if spec.kind == "values":
            figures = baselines(metrics, train, dataset.features_and_labels(split)[1])
        else:
            figures = baselines_of_counts(metrics, train, dataset.label_counts(split))
        for metric in metrics.of_rows:
            if metric.constant is not None:
                known = f"   best possible {metric.shown(best[metric.name])}" if metric.name in best else ""
                figure, meaning = metric.shown(figures[metric.name]), metric.constant(constants)
                lines.append(f"  {split:<5} {metric.title:<19} {figure:>9}   {meaning:<36}{known}".rstrip())
    return "\n".join(lines)
