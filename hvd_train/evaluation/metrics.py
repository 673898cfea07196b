"""The table of metrics, and the metrics of one run.

| label | metrics |
|---|---|
| years, integers | loss, accuracy, within_5, mae, rmse |
| classes | loss, accuracy; of a finished model also balanced_accuracy, macro_f1, auc (see `class_metrics`) |
| values | loss, mae, rmse |
| where `--monitor` asks for it | balanced_loss, balanced_accuracy, balanced_mae: each label counts alike |

`accuracy` is the share of rows whose most likely label is the true one. It is never the binary accuracy of Keras, which
is 1 - 1/K for a model that predicts nothing. `within_5` is the share of rows whose label lies within 5 of the label
around which there is the most probability. `mae` is the error of the median, `rmse` that of the mean.

To add a metric to the program: an entry here. To add one from outside: `--metrics`, see `hvd_train.evaluation.metric`.
numpy only. Shape letters: N rows, C columns of a row of sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from hvd_train.config import TRAIN_LOSS
from hvd_train.errors import ConfigError
from hvd_train.evaluation import class_metrics
from hvd_train.evaluation.label_means import means_over_labels
from hvd_train.evaluation.metric import Metric
from hvd_train.evaluation.output_spec import LabelKind, OutputSpec
from hvd_train.evaluation.predictions import Predictions

WITHIN = 5

BUILT_IN = (
    Metric(
        name="loss",
        title="loss",
        higher_is_better=False,
        row_terms=lambda rows: rows.loss,
        baseline_terms=lambda constants, truth: constants.loss(truth),
    ),
    Metric(
        name="accuracy",
        title="exact accuracy",
        higher_is_better=True,
        percent=True,
        label_kinds=("years", "integers", "classes"),
        row_terms=lambda rows: rows.most_likely == rows.truth,
        baseline_terms=lambda constants, truth: truth == constants.most_common,
        constant=lambda constants: f"always the most common, {constants.most_common_name}",
    ),
    Metric(
        name="within_5",
        title="within 5",
        higher_is_better=True,
        percent=True,
        label_kinds=("years", "integers"),
        row_terms=lambda rows: np.abs(rows.center(WITHIN) - rows.truth) <= WITHIN,
        baseline_terms=lambda constants, truth: np.abs(truth - constants.center(WITHIN)) <= WITHIN,
        constant=lambda constants: f"always {constants.center(WITHIN):g}, the center of most rows",
    ),
    Metric(
        name="mae",
        title="mean abs. error",
        higher_is_better=False,
        unit="label",
        label_kinds=("years", "integers", "values"),
        row_terms=lambda rows: np.abs(rows.median - rows.truth),
        baseline_terms=lambda constants, truth: np.abs(truth - constants.median),
        constant=lambda constants: f"always the median, {constants.median:.7g}",
    ),
    Metric(
        name="rmse",
        title="root mean sq. error",
        higher_is_better=False,
        unit="label",
        label_kinds=("years", "integers", "values"),
        row_terms=lambda rows: (rows.mean - rows.truth) ** 2,
        figure=lambda means: float(np.sqrt(means[0])),
        baseline_terms=lambda constants, truth: (truth - constants.mean) ** 2,
        constant=lambda constants: f"always the mean, {constants.mean:.6g}",
    ),
    Metric(
        name="balanced_accuracy",
        title="balanced accuracy",
        higher_is_better=True,
        percent=True,
        label_kinds=("classes",),
        of_classes=class_metrics.balanced_accuracy,
    ),
    Metric(
        name="macro_f1",
        title="macro F1",
        higher_is_better=True,
        label_kinds=("classes",),
        of_classes=class_metrics.macro_f1,
    ),
    Metric(name="auc", title="AUC", higher_is_better=True, label_kinds=("classes",), of_classes=class_metrics.auc),
)
# Those that are offered as means over labels too, and for which labels. Of classes balanced_accuracy is above.
OVER_LABELS: dict[str, tuple[LabelKind, ...]] = {
    "loss": ("years", "integers", "classes"),
    "accuracy": ("years", "integers"),
    "mae": ("years", "integers"),
}
# Computed where a run monitors them. Their baselines are those of the metric itself, averaged in the same way.
BY_LABEL = tuple(
    replace(
        metric,
        name=f"balanced_{metric.name}",
        title=f"balanced {metric.title.removeprefix('exact ')}",
        label_kinds=OVER_LABELS[metric.name],
        over_labels=True,
        constant=None,
    )
    for metric in BUILT_IN
    if metric.name in OVER_LABELS
)
# The columns of metrics.csv that a run can monitor; which of them it has depends on its labels and its loss.
MONITORS = tuple(dict.fromkeys(metric.column for metric in (*BUILT_IN, *BY_LABEL)))
_TABLE = {metric.name: metric for metric in (*BY_LABEL, *BUILT_IN)}


def metric_named(name: str) -> Metric:
    """The entry of the table, built in or added by a run."""
    return _TABLE[name]


def is_known(name: str) -> bool:
    """Whether `metric_named` knows it. One of the user's own is known where its run is loaded."""
    return name in _TABLE


def is_built_in(name: str) -> bool:
    return any(metric.name == name for metric in BUILT_IN)


def add_to_table(metric: Metric) -> None:
    """Let `metric_named` know a metric from outside, of which the figures of a run are to be shown."""
    _TABLE[metric.name] = metric


@dataclass(frozen=True)
class MetricSet:
    """The metrics of one run.

    Sums have a column of the number of rows, then the terms of each metric over rows. Then come, for each label, its rows
    and the terms of each metric over labels.
    """

    spec: OutputSpec
    of_rows: tuple[Metric, ...]
    """Those that are means over rows."""
    of_classes: tuple[Metric, ...] = ()
    """Those from the table of classes, of a finished model."""
    of_labels: tuple[Metric, ...] = ()
    """Those in which each label counts alike."""
    monitored: Metric | None = None
    """The one that chooses the best epoch. It is computed after each epoch, also where it is one of classes."""

    @classmethod
    def of(cls, spec: OutputSpec, own: Iterable[Metric] = (), *, monitor: str | None = None) -> MetricSet:
        """The built-in metrics for these labels and outputs, the user's `own`, and the one of the column `monitor`.

        Raises:
            ConfigError: no metric of these labels and outputs has that column.
        """
        chosen = [metric for metric in (*BUILT_IN, *own) if metric.applies_to(spec)]
        if monitor is None or monitor == TRAIN_LOSS:
            return cls.made_of(spec, chosen)
        names = {metric.name for metric in chosen}
        offered = chosen + [m for m in BY_LABEL if m.applies_to(spec) and m.name not in names]
        columns = {metric.column: metric for metric in offered}
        if monitor not in columns:
            model = "probabilities" if spec.predicts_distribution else "one value"
            raise ConfigError(
                f"monitor = {monitor!r} is not possible: it is train_loss, or a metric of the validation split. With labels of the kind "
                f"{spec.kind} and a model that predicts {model} these are {', '.join(columns)}."
            )
        monitored = columns[monitor]
        wanted = chosen if monitored.name in names else [*chosen, monitored]
        return replace(cls.made_of(spec, wanted), monitored=monitored)

    @classmethod
    def made_of(cls, spec: OutputSpec, metrics: Iterable[Metric]) -> MetricSet:
        """Exactly these metrics, which apply to these labels and outputs."""
        chosen = list(metrics)
        return cls(
            spec,
            tuple(m for m in chosen if m.row_terms and not m.over_labels),
            tuple(m for m in chosen if m.of_classes),
            tuple(m for m in chosen if m.row_terms and m.over_labels),
        )

    @property
    def num_columns(self) -> int:
        return self._num_row_columns + len(self.spec.values) * self._num_label_columns

    @property
    def _num_row_columns(self) -> int:
        return 1 + sum(metric.num_terms for metric in self.of_rows)

    @property
    def _num_label_columns(self) -> int:
        """Of one label."""
        return 1 + sum(metric.num_terms for metric in self.of_labels) if self.of_labels else 0

    def row_terms(self, predictions: Predictions) -> np.ndarray:
        """(N, C) float64: 1, then the terms of each metric over rows."""
        return np.column_stack([np.ones(len(predictions)), *_terms(self.of_rows, predictions)])

    def label_terms(self, predictions: Predictions) -> np.ndarray:
        """(N, T) float64: the terms of each metric over labels."""
        return np.column_stack([np.zeros((len(predictions), 0)), *_terms(self.of_labels, predictions)])

    def figures(self, sums: np.ndarray) -> dict[str, float]:
        """Figures by name from sums (G, C) or (C,) over all ranks; NaN where there is no row."""
        total = np.atleast_2d(sums).sum(axis=0)
        rows, labels = total[: self._num_row_columns], total[self._num_row_columns :]
        means = [rows[1:] / (rows[0] or np.nan)]
        if self.of_labels:
            means.append(means_over_labels(labels, len(self.spec.values)))
        return self.from_means(np.concatenate(means))

    def from_means(self, means: np.ndarray) -> dict[str, float]:
        """Figures by name from the means of all terms: those over rows, then those over labels."""
        chosen = (*self.of_rows, *self.of_labels)
        ends = np.cumsum([metric.num_terms for metric in chosen])
        return {
            metric.name: float(metric.figure(means[end - metric.num_terms : end]))
            for metric, end in zip(chosen, ends, strict=True)
        }


def _terms(metrics: Iterable[Metric], predictions: Predictions) -> list[np.ndarray]:
    """(N, num_terms) of each metric."""
    terms = []
    for metric in metrics:
        assert metric.row_terms is not None
        own = np.asarray(metric.row_terms(predictions), np.float64)
        terms.append(own.reshape(len(predictions), metric.num_terms))
    return terms


def sums_by_group(terms: np.ndarray, group_starts: np.ndarray) -> np.ndarray:
    """Sums (G, C) of per-row terms (N, C); `group_starts` (G,) are the first rows of the groups."""
    ends = np.append(group_starts[1:], len(terms))
    return np.stack([terms[a:b].sum(axis=0) for a, b in zip(group_starts, ends, strict=True)])


def verdict(figures: dict[str, float], baselines: dict[str, float]) -> str:
    """In words: whether the model has learnt anything, and in which metrics it has not."""
    worse = [name for name in figures if not metric_named(name).beats(figures[name], baselines[name])]
    if not worse:
        return "better than the trivial baseline in every metric"
    names = ", ".join(metric_named(name).title for name in worse)
    if len(worse) == len(figures):
        return "NO BETTER THAN THE TRIVIAL BASELINE in any metric: this model has learnt nothing of use"
    return f"no better than the trivial baseline in: {names}"
