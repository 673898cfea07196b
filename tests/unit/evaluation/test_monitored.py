"""The metrics that a run can monitor: which there are, and those in which each label counts alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from hvd_train.config import TrainingConfig
from hvd_train.errors import ConfigError
from hvd_train.evaluation.baseline import TrainLabels, baselines
from hvd_train.evaluation.class_metrics import ClassTally
from hvd_train.evaluation.evaluate import LabelledRows, evaluate_rows, metrics_of
from hvd_train.evaluation.metrics import MetricSet
from hvd_train.evaluation.output_spec import LabelKind, OutputSpec, softmax
from hvd_train.evaluation.own_metrics import metric_set

ALWAYS = ["val_loss", "val_accuracy", "val_within_5", "val_mae", "val_rmse"]
BALANCED = ["val_balanced_loss", "val_balanced_accuracy", "val_balanced_mae"]
OFFERED: list[tuple[LabelKind, str, list[str]]] = [
    ("years", "", [*ALWAYS, *BALANCED]),
    ("integers", "mse", [*ALWAYS, *BALANCED]),
    ("values", "", ["val_loss", "val_mae", "val_rmse"]),
    ("classes", "", ["val_loss", "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_auc", "val_balanced_loss"]),
]  # fmt: skip
YEARS = OutputSpec.of("years", (1990, 1991, 1992, 1993))
TRAIN = TrainLabels(np.array([5, 1, 1, 3]), names=(1990, 1991, 1992, 1993))


class Alone:
    """The ranks of a run with one."""

    def allreduce_sum(self, array):  # type: ignore[no-untyped-def]
        return array

    def allgather(self, item):  # type: ignore[no-untyped-def]
        return [item]

    def together(self, action):  # type: ignore[no-untyped-def]
        return action()


@pytest.mark.parametrize(("kind", "loss", "columns"), OFFERED)
def test_a_wrong_name_is_refused_with_those_that_there_are(kind: LabelKind, loss: str, columns: list[str]) -> None:
    spec = OutputSpec.of(kind, () if kind == "values" else (1, 2, 3), loss)
    for column in columns:
        monitored = MetricSet.of(spec, monitor=column).monitored
        assert monitored is not None
        assert (monitored.column, monitored.higher_is_better) == (
            column,
            column in ("val_accuracy", "val_within_5", "val_balanced_accuracy", "val_macro_f1", "val_auc"),
        )
    with pytest.raises(ConfigError) as raised:
        MetricSet.of(spec, monitor="val_cohen")
    assert str(raised.value).startswith("monitor = 'val_cohen' is not possible: ")
    assert str(raised.value).endswith(f"these are {', '.join(columns)}.")
    assert MetricSet.of(spec, monitor="train_loss").monitored is None


def test_the_name_may_leave_the_split_out() -> None:
    assert TrainingConfig().monitor == "val_loss"
    assert TrainingConfig(monitor="balanced_mae").monitor == "val_balanced_mae"
    assert TrainingConfig(monitor="train_loss").monitor == "train_loss"
    with pytest.raises(ConfigError, match="it is the name of a metric"):
        TrainingConfig(monitor="val loss")


def some_rows(num_rows: int, seed: int) -> LabelledRows:
    generator = np.random.default_rng(seed)
    targets = generator.choice(4, size=num_rows, p=(0.7, 0.05, 0.05, 0.2))
    starts = np.sort(generator.integers(0, num_rows + 1, 6))
    starts[0] = 0
    return LabelledRows(generator.normal(size=(num_rows, 4)), targets, 0, starts)


@given(st.integers(1, 80), st.integers(0, 1000))
def test_each_label_counts_alike(num_rows: int, seed: int) -> None:
    rows, found = some_rows(num_rows, seed), {}
    for column in BALANCED:
        metrics = MetricSet.of(YEARS, monitor=column)
        figures = metrics_of(Alone(), lambda x: x, metrics, [rows], num_groups=6)
        assert list(figures) == [*(name.removeprefix("val_") for name in ALWAYS), column.removeprefix("val_")]
        found |= figures
    probabilities, truth = softmax(rows.features), YEARS.values[rows.targets]
    median = YEARS.values[
        (probabilities.cumsum(axis=1) >= 0.5 * probabilities.sum(axis=1, keepdims=True)).argmax(axis=1)
    ]
    loss = -np.log(probabilities[np.arange(num_rows), rows.targets])
    seen = np.unique(truth)
    assert found["balanced_mae"] == pytest.approx(np.mean([np.abs(median - truth)[truth == y].mean() for y in seen]))
    assert found["balanced_loss"] == pytest.approx(np.mean([loss[truth == y].mean() for y in seen]))
    assert found["balanced_accuracy"] == pytest.approx(
        np.mean([(probabilities.argmax(axis=1) == rows.targets)[truth == y].mean() for y in seen])
    )


def test_the_figure_of_a_finished_model_is_that_of_its_breakdown_and_has_a_baseline() -> None:
    rows = some_rows(500, 1)
    metrics = MetricSet.of(YEARS, monitor="val_balanced_mae")
    found = evaluate_rows(Alone(), lambda x: x, metrics, TRAIN, [rows])
    assert found.metrics["balanced_mae"] == pytest.approx(found.details["balanced_mae"], rel=1e-12)
    # The median of the train split is 1990: 0, 1, 2 and 3 years from the labels.
    assert found.baselines["balanced_mae"] == pytest.approx(1.5)
    assert found.baselines["mae"] < 1.5
    assert baselines(metrics, TRAIN, rows.targets)["balanced_mae"] == pytest.approx(1.5)


@pytest.mark.parametrize("column", ["val_balanced_accuracy", "val_macro_f1", "val_auc", "val_balanced_loss"])
def test_metrics_of_classes_are_computed_after_an_epoch_where_they_are_monitored(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, rows = OutputSpec.of("classes", ("a", "b", "c", "d")), some_rows(400, 2)
    train = TrainLabels(np.array([5, 1, 1, 3]), names=("a", "b", "c", "d"))
    kept = []
    monkeypatch.setattr(
        ClassTally, "result", lambda self, *a, true=ClassTally.result: kept.append(self) or true(self, *a)
    )
    metrics = MetricSet.of(spec, monitor=column)
    figures = metrics_of(Alone(), lambda x: x, metrics, [rows], num_groups=6, train=train)
    predicted, shares = rows.features.argmax(axis=1), softmax(rows.features)
    expected = {
        "val_balanced_accuracy": balanced_accuracy_score(rows.targets, predicted),
        "val_macro_f1": f1_score(rows.targets, predicted, average="macro"),
        "val_auc": roc_auc_score(rows.targets, shares, multi_class="ovr"),
        "val_balanced_loss": np.mean([-np.log(shares[rows.targets == k, k]).mean() for k in range(4)]),
    }
    assert list(figures) == ["loss", "accuracy", column.removeprefix("val_")]
    assert figures[column.removeprefix("val_")] == pytest.approx(expected[column])
    # Every score is kept and gathered for the areas alone.
    assert [bool(tally.log_odds) for tally in kept] == {"val_auc": [True], "val_balanced_loss": []}.get(column, [False])
    without = metrics_of(Alone(), lambda x: x, MetricSet.of(spec), [rows], num_groups=6)
    assert list(without) == ["loss", "accuracy"]


def test_a_metric_of_a_user_s_own_can_be_monitored_and_can_count_each_label_alike(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from hvd_train.evaluation import Metric\n"
        "late = Metric(name='late', title='too late', higher_is_better=False, over_labels=True,\n"
        "              row_terms=lambda rows: rows.most_likely > rows.truth)\n"
    )
    reference = f"{tmp_path / 'mine.py'}:late"
    metrics = metric_set([reference], YEARS, TRAIN, monitor="val_late")
    assert metrics.monitored is not None
    assert metrics.monitored.name == "late"
    rows = LabelledRows(np.eye(4)[[1, 0, 0, 0, 3]], np.array([0, 0, 0, 0, 2]), 0, np.zeros(1, int))
    figures = metrics_of(Alone(), lambda x: x, metrics, [rows], num_groups=1)
    assert figures["late"] == pytest.approx((0.25 + 1) / 2)
    with pytest.raises(ConfigError, match="it is defined for labels of the kind"):
        metric_set([reference], OutputSpec.of("values", ()), TRAIN)
