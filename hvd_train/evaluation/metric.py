"""One metric: what it is called, how it is written, and how it is computed exactly over all ranks.

A metric of your own is a `Metric` in a file of your own, named by `--metrics path/to/file.py:name`:

    import numpy as np
    from hvd_train.evaluation import Metric

    within_2 = Metric(
        name="within_2", title="within 2", higher_is_better=True, percent=True, label_kinds=("years", "integers"),
        row_terms=lambda rows: np.abs(rows.median - rows.truth) <= 2,
    )

Each rank adds up the terms of its rows, the ranks' sums are added, and the figure is made from the means over all rows:
each row counts once, and the number of ranks does not matter. numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hvd_train.evaluation.output_spec import LabelKind, OutputSpec
from hvd_train.evaluation.predictions import Predictions
from hvd_train.text import shown

if TYPE_CHECKING:
    from hvd_train.evaluation.baseline import Constants

# Better than the baseline by less than this share of it is not called better.
MARGIN = 1e-6
ALL_KINDS: tuple[LabelKind, ...] = ("years", "integers", "classes", "values")


def first_mean(means: np.ndarray) -> float:
    """The figure of most metrics: the mean of their only term."""
    return float(means[0])


@dataclass(frozen=True, kw_only=True)
class Metric:
    """An entry of the table of metrics. It has `row_terms`, or of classes `of_classes`."""

    name: str
    """In report.json, and after val_ in metrics.csv. A Python name."""
    title: str
    """In tables and pictures."""
    higher_is_better: bool
    unit: str = ""
    """label: the figure is in the unit of the labels."""
    percent: bool = False
    """Whether a share is written in per cent."""
    label_kinds: tuple[LabelKind, ...] = ALL_KINDS
    """The kinds of label that it is defined for."""
    needs_probabilities: bool = False
    """Whether it is for models that predict a distribution alone, not for those that predict one value."""
    row_terms: Callable[[Predictions], np.ndarray] | None = None
    """The terms of each row, (N,), or (N, num_terms). Pure; a rank calls it for its own rows."""
    num_terms: int = 1
    over_labels: bool = False
    """Whether each label counts alike: the terms are averaged over the rows of each label, then over the labels that have
    rows. Not for real values."""
    figure: Callable[[np.ndarray], float] = first_mean
    """The figure from the means (num_terms,) of the terms over all rows, or all labels, of all ranks."""
    baseline_terms: Callable[[Constants, np.ndarray], np.ndarray] | None = None
    """The terms of the best constant prediction at these true labels (n,). By default `row_terms` of a model that
    predicts the label distribution of the train split for every row."""
    constant: Callable[[Constants], str] | None = None
    """The best constant prediction in words."""
    of_classes: Callable[[list[dict[str, Any]]], tuple[float, float] | None] | None = None
    """Figure and baseline from `details["classes"]`, for a metric that no sum over rows gives; None where there is none."""

    @property
    def column(self) -> str:
        """Its name in metrics.csv, and for --monitor."""
        return f"val_{self.name}"

    def applies_to(self, spec: OutputSpec) -> bool:
        """Whether it is defined for these labels and outputs."""
        if self.over_labels and spec.kind == "values":
            return False
        return spec.kind in self.label_kinds and (spec.predicts_distribution or not self.needs_probabilities)

    def shown(self, value: float) -> str:
        """The figure as it is written."""
        return f"{100 * value:.2f} %" if self.percent else shown(value)

    def beats(self, value: float, baseline: float) -> bool:
        """Whether a model's figure is better than the baseline's. NaN beats nothing."""
        margin = MARGIN * abs(baseline)
        return value > baseline + margin if self.higher_is_better else value < baseline - margin
