"""Metrics against numpy and scikit-learn on the same rows, however they are spread over shards and ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.evaluation import metrics
from hvd_train.evaluation.metrics import Baseline, Labels

YEARS = Labels.of("years", tuple(range(1990, 2012)))


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


@given(num_rows=st.integers(1, 200), num_shards=st.integers(1, 9), seed=st.integers(0, 99))
def test_sums_over_uneven_shards_equal_the_metrics_of_all_rows(num_rows: int, num_shards: int, seed: int) -> None:
    logits, targets = some_outputs(num_rows, seed)
    starts = np.sort(np.random.default_rng(seed).integers(0, num_rows + 1, num_shards))
    starts[0] = 0
    sums = metrics.sums_by_shard(metrics.row_sums(YEARS, logits, targets), starts)
    found = metrics.from_sums("years", sums)
    assert sums[:, 0].sum() == num_rows
    assert found == pytest.approx(expected(logits, targets), rel=1e-9)


def test_the_total_does_not_depend_on_how_ranks_share_the_shards() -> None:
    logits, targets = some_outputs(1000)
    starts = np.arange(0, 1000, 125)
    every = metrics.sums_by_shard(metrics.row_sums(YEARS, logits, targets), starts)
    whole = metrics.from_sums("years", every)
    for size in (1, 2, 4, 8):
        per_rank = [np.zeros_like(every) for _ in range(size)]
        for shard in range(8):
            per_rank[shard * size // 8][shard] = every[shard]
        assert metrics.from_sums("years", np.sum(per_rank, axis=0)) == whole  # to the last bit


def test_a_model_that_predicts_nothing_scores_no_0_98889() -> None:
    """With 90 classes and binary accuracy it would score 1 - 1/90; here it scores what it is worth."""
    labels = Labels.of("years", tuple(range(1922, 2012)))
    targets = np.repeat(np.arange(90), 2)
    found = metrics.from_sums("years", metrics.row_sums(labels, np.zeros((180, 90), np.float32), targets))
    assert found["accuracy"] == pytest.approx(1 / 90)
    baseline = Baseline.of(labels, np.bincount(targets)).metrics(labels, np.bincount(targets))
    assert "NO BETTER" in metrics.verdict(found, baseline)


def test_baselines_are_the_best_constants_of_the_train_split() -> None:
    rng = np.random.default_rng(1)
    train, test = rng.choice(22, 500, p=rng.dirichlet(np.ones(22))), rng.integers(0, 22, 300)
    counts = [np.bincount(split, minlength=22) for split in (train, test)]
    found = Baseline.of(YEARS, counts[0]).metrics(YEARS, counts[1])
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
    terms = metrics.row_sums(Labels.of("classes", ("a", "b")), logits, np.array([1, 0]))
    assert terms[:, 1].tolist() == [1000.0, 1000.0]


def test_real_values() -> None:
    labels = Labels.of("values", ())
    predictions, truth = np.array([[1.0], [2.0], [4.0]], np.float32), np.array([1.0, 0.0, 1.0], np.float32)
    found = metrics.from_sums("values", metrics.row_sums(labels, predictions, truth))
    assert found == pytest.approx({"loss": 13 / 3, "mae": 5 / 3, "rmse": (13 / 3) ** 0.5})
    baseline = metrics.from_sums("values", metrics.value_baseline(labels, 1.0, 1.0, 1.0, truth))
    assert baseline == pytest.approx({"loss": 1 / 3, "mae": 1 / 3, "rmse": (1 / 3) ** 0.5})


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_model_that_says_one_year_is_scored_by_it(loss: str) -> None:
    labels = Labels.of("years", tuple(range(1990, 2012)), loss, delta=2.0)
    said, targets = np.array([[1999.6], [2020.0], [2001.2]], np.float32), np.array([10, 21, 5])
    found = metrics.from_sums("years", metrics.row_sums(labels, said, targets))
    errors = np.array([-0.4, 9.0, 6.2])
    losses = {"mse": errors**2, "mae": abs(errors), "huber": np.array([0.08, 2 * (9 - 1), 2 * (6.2 - 1)])}
    assert found["loss"] == pytest.approx(losses[loss].mean(), rel=1e-4)
    assert found["accuracy"] == pytest.approx(2 / 3)  # 2000 and, of 2020.0, the last label
    assert found["within_5"] == pytest.approx(2 / 3)
    assert found["mae"] == pytest.approx(abs(errors).mean(), rel=1e-4)
    assert found["rmse"] == pytest.approx((errors**2).mean() ** 0.5, rel=1e-4)


def test_a_mean_and_a_deviation_of_real_values() -> None:
    labels = Labels.of("values", (), "gaussian")
    said, truth = np.array([[1.0, 0.5], [2.0, 2.0]], np.float32), np.array([1.5, 0.0], np.float32)
    found = metrics.from_sums("values", metrics.row_sums(labels, said, truth))
    nll = [0.5 + np.log(0.5 * np.sqrt(2 * np.pi)), 0.5 + np.log(2 * np.sqrt(2 * np.pi))]
    assert found["loss"] == pytest.approx(np.mean(nll))
    assert found["rmse"] == pytest.approx(np.sqrt((0.25 + 4) / 2))


def test_classes_have_no_distances() -> None:
    assert metrics.metric_names("classes") == ("loss", "accuracy")


def test_the_verdict_names_what_is_no_better() -> None:
    baseline = {"loss": 3.0, "accuracy": 0.1, "rmse": 10.0}
    assert "better than the trivial baseline in every" in metrics.verdict(
        {"loss": 2.0, "accuracy": 0.2, "rmse": 9.0}, baseline
    )
    assert "exact accuracy" in metrics.verdict({"loss": 2.0, "accuracy": 0.1, "rmse": 9.0}, baseline)
    assert "NO BETTER" in metrics.verdict({"loss": float("nan"), "accuracy": 0.1, "rmse": 10.0}, baseline)
