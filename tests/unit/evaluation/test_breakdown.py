"""Errors by decade and by frequency, balanced means and calibration, against plain loops over the rows."""

from __future__ import annotations

import numpy as np
import pytest

from hvd_train.evaluation import breakdown
from hvd_train.evaluation.output_spec import OutputSpec, softmax
from hvd_train.evaluation.predictions import Predictions

YEARS = tuple(range(1970, 2000))
LABELS = OutputSpec.of("years", YEARS)
TRAIN_COUNTS = np.array([5] * 10 + [50] * 10 + [500] * 10)


def sums(labels: OutputSpec, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return breakdown.sums_by_label(Predictions(labels, outputs, targets))


def some_rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(0, 2, (400, 30)).astype(np.float32), rng.choice(np.arange(0, 30, 2), 400)


def test_figures_equal_loops_over_the_rows() -> None:
    logits, targets = some_rows()
    # In two parts, as two ranks would.
    total = sums(LABELS, logits[:150], targets[:150]) + sums(LABELS, logits[150:], targets[150:])
    found = breakdown.describe(LABELS, total, TRAIN_COUNTS)
    probabilities = softmax(logits)
    years, truth = LABELS.values, LABELS.values[targets]
    median = np.array([years[np.searchsorted(np.cumsum(p), 0.5)] for p in probabilities])
    errors = abs(median - truth)
    exact = logits.argmax(1) == targets
    by_year = [errors[truth == year].mean() for year in np.unique(truth)]
    assert found["balanced_mae"] == pytest.approx(np.mean(by_year))
    assert found["balanced_accuracy"] == pytest.approx(np.mean([exact[truth == y].mean() for y in np.unique(truth)]))
    decade_of = np.stack([probabilities[:, i : i + 10].sum(1) for i in (0, 10, 20)], axis=1).argmax(1) * 10 + 1970
    assert [row["decade"] for row in found["decades"]] == [1970, 1980, 1990]
    shares = []
    for row in found["decades"]:
        chosen = truth // 10 * 10 == row["decade"]
        assert row["rows"] == chosen.sum()
        assert row["train_rows"] == {1970: 50, 1980: 500, 1990: 5000}[row["decade"]]
        assert row["mae"] == pytest.approx(errors[chosen].mean())
        assert row["rmse"] == pytest.approx(np.sqrt(((probabilities @ years - truth)[chosen] ** 2).mean()))
        assert row["accuracy"] == pytest.approx(exact[chosen].mean())
        shares.append((decade_of == row["decade"])[chosen].mean())
        assert row["decade_accuracy"] == pytest.approx(shares[-1])
    assert found["macro_accuracy_by_decade"] == pytest.approx(np.mean(shares))
    shots = {name: (row["labels"], row["rows"]) for name, row in found["shots"].items()}
    assert shots == {
        name: (5, int((truth // 10 * 10 == decade).sum()))
        for name, decade in (("many", 1990), ("medium", 1980), ("few", 1970))
    }
    assert found["predicted_rows"] == pytest.approx(probabilities.sum(0), abs=1e-3)
    confidence = probabilities.max(1)
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(exact[inside].mean() - confidence[inside].mean())
    assert found["expected_calibration_error"] == pytest.approx(error)
    assert sum(row["rows"] for row in found["reliability"]) == 400


def test_a_model_that_predicts_one_year_has_decades_but_no_calibration() -> None:
    labels = OutputSpec.of("years", YEARS, "mse")
    found = breakdown.describe(labels, sums(labels, np.array([[1974.6], [1991.0]]), np.array([8, 21])), TRAIN_COUNTS)
    assert [row["decade_accuracy"] for row in found["decades"]] == [1.0, 1.0]
    assert found["balanced_mae"] == pytest.approx((3.4 + 0.0) / 2)
    assert "expected_calibration_error" not in found


def test_names_have_shots_and_no_decades() -> None:
    labels = OutputSpec.of("classes", ("a", "b", "c"))
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]] * 9
    found = breakdown.describe(labels, sums(labels, logits, np.array([0, 1, 2, 2])), np.array([200, 30, 3]))
    assert "decades" not in found
    assert found["balanced_accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["shots"]["few"] == {"labels": 1, "train_rows": 3, "rows": 2, "accuracy": 0.5}
