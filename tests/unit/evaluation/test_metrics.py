"""Metrics against numpy and scikit-learn on the same rows, however they are spread over shards and ranks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.evaluation import metrics
from hvd_train.evaluation.baseline import TrainLabels, baselines, baselines_of_counts
from hvd_train.evaluation.metric import Metric
from hvd_train.evaluation.metrics import BUILT_IN, MetricSet
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.evaluation.predictions import Predictions

YEARS = OutputSpec.of("years", tuple(range(1990, 2012)))
OF_YEARS = MetricSet.of(YEARS)


def row_terms(spec: OutputSpec, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return MetricSet.of(spec).row_terms(Predictions(spec, outputs, targets))


def figures(spec: OutputSpec, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    return MetricSet.of(spec).figures(row_terms(spec, outputs, targets))


def some_outputs(num_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (num_rows, 22)).astype(np.float32), rng.integers(0, 22, num_rows)


def expected(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The same figures by scikit-learn and numpy, from the definitions."""
    from sklearn.metrics import log_loss, mean_absolute_error, root_mean_squared_error  # a second, which few tests need

    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    years, truth = YEARS.values, YEARS.values[targets]
    windows = np.stack([probabilities[:, max(0, k - 5) : k + 6].sum(axis=1) for k in range(22)], axis=1)
    return {
        "loss": log_loss(targets, probabilities, labels=range(22)),
        "accuracy": np.mean(logits.argmax(1) == targets),
        "within_5": np.mean(np.abs(years[windows.argmax(1)] - truth) <= 5),
        "mae": mean_absolute_error(truth, [years[np.searchsorted(np.cumsum(p), 0.5 - 1e-12)] for p in probabilities]),
        "rmse": root_mean_squared_error(truth, probabilities @ years),
    }


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")  # of scikit-learn 1.7, with Python 3.10
@given(num_rows=st.integers(1, 200), num_shards=st.integers(1, 9), seed=st.integers(0, 99))
def test_sums_over_uneven_shards_equal_the_metrics_of_all_rows(num_rows: int, num_shards: int, seed: int) -> None:
    logits, targets = some_outputs(num_rows, seed)
    starts = np.sort(np.random.default_rng(seed).integers(0, num_rows + 1, num_shards))
    starts[0] = 0
    sums = metrics.sums_by_group(row_terms(YEARS, logits, targets), starts)
    found = OF_YEARS.figures(sums)
    assert sums[:, 0].sum() == num_rows
    assert found == pytest.approx(expected(logits, targets), rel=1e-9)


def test_the_total_does_not_depend_on_how_ranks_share_the_shards() -> None:
    logits, targets = some_outputs(1000)
    starts = np.arange(0, 1000, 125)
    every = metrics.sums_by_group(row_terms(YEARS, logits, targets), starts)
    whole = OF_YEARS.figures(every)
    for size in (1, 2, 4, 8):
        per_rank = [np.zeros_like(every) for _ in range(size)]
        for shard in range(8):
            per_rank[shard * size // 8][shard] = every[shard]
        assert OF_YEARS.figures(np.sum(per_rank, axis=0)) == whole  # to the last bit


def test_a_model_that_predicts_nothing_scores_no_0_98889() -> None:
    """With 90 classes and binary accuracy it would score 1 - 1/90; here it scores what it is worth."""
    labels = OutputSpec.of("years", tuple(range(1922, 2012)))
    targets = np.repeat(np.arange(90), 2)
    found = figures(labels, np.zeros((180, 90), np.float32), targets)
    assert found["accuracy"] == pytest.approx(1 / 90)
    baseline = baselines(MetricSet.of(labels), TrainLabels(np.bincount(targets)), targets)
    assert "NO BETTER" in metrics.verdict(found, baseline)


def test_baselines_are_the_best_constants_of_the_train_split() -> None:
    rng = np.random.default_rng(1)
    train, test = rng.choice(22, 500, p=rng.dirichlet(np.ones(22))), rng.integers(0, 22, 300)
    counts = [np.bincount(split, minlength=22) for split in (train, test)]
    found = baselines_of_counts(OF_YEARS, TrainLabels(counts[0]), counts[1])
    assert found == baselines(OF_YEARS, TrainLabels(counts[0]), test)
    years_train, years_test = YEARS.values[train], YEARS.values[test]
    assert found["accuracy"] == pytest.approx(np.mean(test == np.bincount(train).argmax()))
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((years_test - years_train.mean()) ** 2)))
    assert found["mae"] == pytest.approx(np.mean(np.abs(years_test - np.median(years_train))))
    windows = [np.mean(np.abs(years_train - year) <= 5) for year in YEARS.values]
    assert found["within_5"] == pytest.approx(np.mean(np.abs(years_test - YEARS.values[np.argmax(windows)]) <= 5))
    share = (counts[0] + 1) / (counts[0] + 1).sum()
    assert found["loss"] == pytest.approx(-np.mean(np.log(share[test])))


def test_an_impossible_looking_row_has_a_finite_loss() -> None:
    logits = np.array([[1000.0, 0.0], [-1000.0, 0.0]], np.float32)
    terms = row_terms(OutputSpec.of("classes", ("a", "b")), logits, np.array([1, 0]))
    assert terms[:, 1].tolist() == [1000.0, 1000.0]


def test_real_values() -> None:
    labels = OutputSpec.of("values", ())
    predictions, truth = np.array([[1.0], [2.0], [4.0]], np.float32), np.array([1.0, 0.0, 1.0], np.float32)
    found = figures(labels, predictions, truth)
    assert found == pytest.approx({"loss": 13 / 3, "mae": 5 / 3, "rmse": (13 / 3) ** 0.5})
    baseline = baselines(MetricSet.of(labels), TrainLabels(mean=1.0, median=1.0), truth)
    assert baseline == pytest.approx({"loss": 1 / 3, "mae": 1 / 3, "rmse": (1 / 3) ** 0.5})


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_model_that_predicts_one_year_is_scored_by_it(loss: str) -> None:
    labels = OutputSpec.of("years", tuple(range(1990, 2012)), loss, delta=2.0)
    predicted, targets = np.array([[1999.6], [2020.0], [2001.2]], np.float32), np.array([10, 21, 5])
    found = figures(labels, predicted, targets)
    errors = np.array([-0.4, 9.0, 6.2])
    losses = {"mse": errors**2, "mae": abs(errors), "huber": np.array([0.08, 2 * (9 - 1), 2 * (6.2 - 1)])}
    assert found["loss"] == pytest.approx(losses[loss].mean(), rel=1e-4)
    assert found["accuracy"] == pytest.approx(2 / 3)  # 2000 and, of 2020.0, the last label
    assert found["within_5"] == pytest.approx(2 / 3)
    assert found["mae"] == pytest.approx(abs(errors).mean(), rel=1e-4)
    assert found["rmse"] == pytest.approx((errors**2).mean() ** 0.5, rel=1e-4)


def test_a_mean_and_a_standard_deviation_of_real_values() -> None:
    labels = OutputSpec.of("values", (), "gaussian")
    predicted, truth = np.array([[1.0, 0.5], [2.0, 2.0]], np.float32), np.array([1.5, 0.0], np.float32)
    found = figures(labels, predicted, truth)
    nll = [0.5 + np.log(0.5 * np.sqrt(2 * np.pi)), 0.5 + np.log(2 * np.sqrt(2 * np.pi))]
    assert found["loss"] == pytest.approx(np.mean(nll))
    assert found["rmse"] == pytest.approx(np.sqrt((0.25 + 4) / 2))


def test_classes_have_no_distances() -> None:
    of_classes = MetricSet.of(OutputSpec.of("classes", ("a", "b")))
    assert [metric.name for metric in of_classes.of_rows] == ["loss", "accuracy"]
    assert [metric.name for metric in of_classes.of_classes] == ["balanced_accuracy", "macro_f1", "auc"]


def test_the_verdict_names_what_is_no_better() -> None:
    baseline = {"loss": 3.0, "accuracy": 0.1, "rmse": 10.0}
    assert "better than the trivial baseline in every" in metrics.verdict(
        {"loss": 2.0, "accuracy": 0.2, "rmse": 9.0}, baseline
    )
    assert "exact accuracy" in metrics.verdict({"loss": 2.0, "accuracy": 0.1, "rmse": 9.0}, baseline)
    assert "NO BETTER" in metrics.verdict({"loss": float("nan"), "accuracy": 0.1, "rmse": 10.0}, baseline)


@pytest.mark.parametrize("kind", ["years", "classes", "values"])
@pytest.mark.parametrize("loss", ["", "mse", "mae", "huber", "gaussian"])
def test_a_baseline_is_what_a_constant_prediction_scores(kind: str, loss: str) -> None:
    """Of each metric, computed once by its own constants, and once from a model with constant outputs."""
    rng = np.random.default_rng(2)
    names = tuple("abcdefghijklmnopqrstuv") if kind == "classes" else tuple(range(1990, 2012))
    values: tuple[int | str, ...] = () if kind == "values" else names
    spec = OutputSpec.of(kind, values, loss if kind != "classes" else "", delta=2.0)  # type: ignore[arg-type]
    if kind == "values":
        labels, targets = rng.exponential(3, 500), rng.exponential(3, 300)
        train = TrainLabels(mean=labels.mean(), median=float(np.median(labels)), std=labels.std())
    else:
        counts, targets = rng.integers(5_000, 30_000, 22), rng.integers(0, 22, 300)
        train = TrainLabels(counts, names=values)
    found = baselines(MetricSet.of(spec), train, targets)
    without = [dataclasses.replace(metric, baseline_terms=None) for metric in BUILT_IN]
    chosen = MetricSet(spec, tuple(metric for metric in without if metric.row_terms and metric.applies_to(spec)))
    constant = baselines(chosen, train, targets)
    assert set(found) == set(constant)
    # A model that predicts one value has one constant, the best for its loss; a distribution serves each metric.
    own = {"mse": ["loss", "rmse"], "gaussian": ["loss", "rmse"], "mae": ["loss", "mae"], "huber": ["loss", "mae"]}
    compared = list(found) if spec.predicts_distribution else own[str(spec.point_loss)]
    close = {name: pytest.approx(found[name], rel=1e-3) for name in compared}
    assert {name: constant[name] for name in compared} == close


def test_each_metric_has_a_name_of_its_own_and_one_way_to_be_computed() -> None:
    assert len({metric.name for metric in BUILT_IN}) == len({metric.title for metric in BUILT_IN}) == len(BUILT_IN)
    for metric in BUILT_IN:
        assert metric.name.isidentifier()
        assert (metric.row_terms is None) != (metric.of_classes is None)
    percent = Metric(name="p", title="p", higher_is_better=True, percent=True)
    assert percent.shown(0.0812) == "8.12 %"
    assert percent.beats(0.2, 0.1)
    assert not percent.beats(float("nan"), 0.1)
