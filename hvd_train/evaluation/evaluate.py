"""A model over rows: the one loop that scores them, whether they are virtual shards of a split or blocks of a table.

numpy only: the model is a function from features to outputs. Shape letters: N rows, F features, K outputs, G groups of
rows (a virtual shard or a block of a table), C columns of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hvd_train.data import Rows
from hvd_train.evaluation import calibration
from hvd_train.evaluation.baseline import TrainLabels, baselines
from hvd_train.evaluation.breakdown import Breakdown
from hvd_train.evaluation.calibration import Infer
from hvd_train.evaluation.class_metrics import ClassTally
from hvd_train.evaluation.label_means import sums_of_labels
from hvd_train.evaluation.metrics import MetricSet, sums_by_group, verdict
from hvd_train.evaluation.predictions import Predictions
from hvd_train.evaluation.ranks import Ranks

# Rows whose probabilities are held at once.
ROWS_AT_ONCE = 1024


class LabelledRows(NamedTuple):
    """Some rows of this rank, in groups that follow each other."""

    features: np.ndarray
    """(N, F)"""
    targets: np.ndarray
    """(N,) class indices, or real values."""
    first_group: int
    """The number of the first group among those of all ranks."""
    group_starts: np.ndarray
    """The first row of each group."""

    @classmethod
    def of_shards(cls, rows: Rows, shards: range) -> LabelledRows:
        """The rows of these virtual shards, each a group."""
        return cls(rows.features, rows.labels, shards.start, rows.shard_starts)


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on some rows. The same on every rank."""

    num_rows: int
    metrics: dict[str, float]
    baselines: dict[str, float]
    details: dict[str, Any]
    """Where the model errs, see `hvd_train.evaluation.breakdown`; empty for real values."""
    optimum: dict[str, float] = field(default_factory=dict)
    """What no model can beat on average; only where the data's true posterior is known."""

    @property
    def verdict(self) -> str:
        """In words: whether the model is better than the trivial baseline."""
        return verdict(self.metrics, self.baselines)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.num_rows,
            "metrics": self.metrics,
            "baselines": self.baselines,
            "optimum": self.optimum,
            "details": self.details,
            "verdict": self.verdict,
        }


def metrics_of(
    ranks: Ranks,
    infer: Infer,
    metrics: MetricSet,
    blocks: Iterable[LabelledRows],
    *,
    num_groups: int,
    train: TrainLabels | None = None,
) -> dict[str, float]:
    """The metrics alone over all ranks' rows, as validation needs them. All ranks.

    A metric of classes is computed where it is monitored, which needs `train`.
    """
    monitored = metrics.monitored
    if monitored is None or monitored.of_classes is None:
        return metrics.figures(total_sums(ranks, infer, metrics, blocks, num_groups=num_groups))
    assert train is not None
    tally = ClassTally(len(metrics.spec.values), with_areas=monitored.name == "auc")

    def visit(predictions: Predictions) -> None:
        tally.add(predictions.outputs, predictions.targets)

    figures = metrics.figures(total_sums(ranks, infer, metrics, blocks, num_groups=num_groups, visit=visit))
    both = monitored.of_classes(tally.result(ranks, train.counts, train.names)["classes"])
    return figures | {monitored.name: both[0] if both else np.nan}


def evaluate_rows(
    ranks: Ranks,
    infer: Infer,
    metrics: MetricSet,
    train: TrainLabels,
    blocks: Iterable[LabelledRows],
    *,
    num_groups: int | None = None,
    optimum: dict[str, float] | None = None,
) -> Evaluation:
    """Metrics, baselines and breakdown over all ranks' rows, in one pass. All ranks.

    `num_groups` are those of all ranks; None where nobody knows before the end.
    """
    breakdown, targets = (
        Breakdown(metrics.spec, train),
        [np.zeros(0, np.float32 if metrics.spec.kind == "values" else np.int32)],
    )

    def visit(predictions: Predictions) -> None:
        breakdown.add(predictions)
        targets.append(predictions.targets)

    sums = total_sums(ranks, infer, metrics, blocks, num_groups=num_groups, visit=visit)
    num_rows = int(sums[:, 0].sum())
    if not num_rows:
        return Evaluation(0, {}, {}, {})
    details = breakdown.result(ranks)
    figures = metrics.figures(sums)
    constants = baselines(metrics, train, np.concatenate(targets), ranks)
    for metric in metrics.of_classes:
        assert metric.of_classes is not None
        both = metric.of_classes(details["classes"])
        if both is not None:
            figures[metric.name], constants[metric.name] = both
    return Evaluation(num_rows, figures, constants, details, optimum or {})


def total_sums(
    ranks: Ranks,
    infer: Infer,
    metrics: MetricSet,
    blocks: Iterable[LabelledRows],
    *,
    num_groups: int | None = None,
    visit: Callable[[Predictions], None] = lambda _: None,
) -> np.ndarray:
    """Every rank's sums in one (G, C); `visit` gets this rank's predictions. All ranks.

    Each rank fills the rows of its own groups and leaves zeros elsewhere, so the sum over ranks is exact. The total is
    added up in the order of the groups: no figure depends on the number of ranks by even a rounding.
    """
    own = ranks.together(lambda: _own_sums(infer, metrics, blocks, visit))
    assert own is not None
    if num_groups is None:
        num_groups = max(ranks.allgather(max(own, default=-1))) + 1
    every = np.zeros((num_groups, metrics.num_columns))
    for group, sums in own.items():
        every[group] = sums
    return ranks.allreduce_sum(every)


def _own_sums(
    infer: Infer, metrics: MetricSet, blocks: Iterable[LabelledRows], visit: Callable[[Predictions], None]
) -> dict[int, np.ndarray]:
    """Sums (C,) by the number of the group. This rank alone."""
    own: dict[int, np.ndarray] = {}
    for block in blocks:
        terms, label_terms = [], []
        for i in range(0, len(block.targets), ROWS_AT_ONCE):
            some = slice(i, i + ROWS_AT_ONCE)
            predictions = Predictions(metrics.spec, infer(block.features[some]), block.targets[some])
            terms.append(metrics.row_terms(predictions))
            if metrics.of_labels:
                label_terms.append(metrics.label_terms(predictions))
            visit(predictions)
        if not terms:
            own |= {block.first_group + i: np.zeros(metrics.num_columns) for i in range(len(block.group_starts))}
            continue
        sums = sums_by_group(np.concatenate(terms), block.group_starts)
        if metrics.of_labels:
            labels = np.concatenate(label_terms), block.targets, len(metrics.spec.values), block.group_starts
            sums = np.hstack([sums, sums_of_labels(*labels)])
        own |= dict(enumerate(sums, start=block.first_group))
    return own


def fitted_temperature(ranks: Ranks, infer: Infer, metrics: MetricSet, rows: LabelledRows) -> float:
    """The temperature that suits all ranks' rows best; 1 for a model that predicts one value. All ranks."""
    if not metrics.spec.predicts_distribution:
        return 1.0
    return calibration.temperature(infer(rows.features), rows.targets, ranks.allreduce_sum)
