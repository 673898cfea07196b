"""Class metrics against scikit-learn's, however the rows are shared by ranks."""

from __future__ import annotations

import csv
import importlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hvd_train.cli.result_tables import classes_table
from hvd_train.evaluation import class_metrics
from hvd_train.evaluation.class_metrics import ClassTally, area_under_roc, log_odds
from hvd_train.evaluation.metrics import MetricSet
from hvd_train.evaluation.output_spec import OutputSpec, softmax
from hvd_train.runs.confusion import write_confusion
from hvd_train.runs.directory import RunDir

NAMES = ("rare", "common", "[bold]odd", "never")
TRAIN_COUNTS = np.array([10, 500, 90, 3])


@pytest.fixture
def sklearn_metrics() -> ModuleType:
    """Loads in a second, which the other tests here need not wait for."""
    return importlib.import_module("sklearn.metrics")


def figures(details: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of classes and their baselines, by the table of metrics."""
    of_classes = MetricSet.of(OutputSpec.of("classes", NAMES)).of_classes
    both = {metric.name: metric.of_classes(details["classes"]) for metric in of_classes if metric.of_classes}
    found = {name: pair for name, pair in both.items() if pair}
    return {name: pair[0] for name, pair in found.items()}, {name: pair[1] for name, pair in found.items()}


class _Ranks:
    """Ranks as threads: a collective waits for all of them."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, threading.Barrier(size, timeout=20)
        self.items: list[Any] = [None] * size

    def run(self, action: Callable[[Any, int], Any]) -> list[Any]:
        results: list[Any] = [None] * self.size

        def one(rank: int) -> None:
            results[rank] = action(_Rank(self, rank), rank)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class _Rank:
    def __init__(self, ranks: _Ranks, rank: int) -> None:
        self.ranks, self.rank = ranks, rank

    def allgather(self, item: Any) -> list[Any]:
        self.ranks.items[self.rank] = item
        self.ranks.barrier.wait()
        gathered = list(self.ranks.items)
        self.ranks.barrier.wait()
        return gathered

    def allreduce_sum(self, array: np.ndarray) -> np.ndarray:
        return np.sum(self.allgather(array), axis=0)


def some_rows(num_rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 4) that know something, and targets of which the last class has none."""
    rng = np.random.default_rng(5)
    targets = rng.choice(3, num_rows, p=[0.05, 0.8, 0.15])
    logits = rng.normal(0, 1, (num_rows, 4)).astype(np.float32)
    logits[np.arange(num_rows), targets] += 1
    logits[:, 3] -= 2
    logits[::7] = np.round(logits[::7])  # ties
    return logits, targets


def results(size: int, logits: np.ndarray, targets: np.ndarray, **limits: int) -> dict[str, Any]:
    """What `size` ranks find; each has some rows, in two batches, and the last rank has none where there are several."""
    parts = np.array_split(np.arange(len(targets)), max(1, size - 1))

    def own(world: Any, rank: int) -> dict[str, Any]:
        tally = ClassTally(logits.shape[1])
        rows = parts[rank] if rank < len(parts) else np.zeros(0, np.int64)
        for batch in np.array_split(rows, 2):
            if len(batch):
                tally.add(logits[batch], targets[batch])
        return tally.result(world, TRAIN_COUNTS, NAMES)

    found = _Ranks(size).run(own)
    assert all(other == found[0] for other in found)
    return dict(found[0])


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_figures_are_scikit_learn_s(sklearn_metrics: ModuleType) -> None:
    logits, targets = some_rows()
    found = results(1, logits, targets)
    predicted, probabilities = logits.argmax(axis=1), softmax(logits)
    assert found["confusion"] == sklearn_metrics.confusion_matrix(targets, predicted, labels=range(4)).tolist()
    seen = range(3)
    for name, score in (
        ("recall", sklearn_metrics.recall_score),
        ("precision", sklearn_metrics.precision_score),
        ("f1", sklearn_metrics.f1_score),
    ):
        expected = score(targets, predicted, labels=seen, average=None, zero_division=0)
        assert [found["classes"][k][name] for k in seen] == pytest.approx(expected.tolist()), name
    areas = [sklearn_metrics.roc_auc_score(targets == k, probabilities[:, k]) for k in seen]
    assert [row["auc"] for row in found["classes"]] == [*map(pytest.approx, areas), None]
    scores, baseline = figures(found)
    assert scores == pytest.approx(
        {
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(targets, predicted),
            "macro_f1": sklearn_metrics.f1_score(targets, predicted, average="macro"),
            "auc": np.mean(areas),
        }
    )
    constant = np.full_like(targets, TRAIN_COUNTS.argmax())
    assert baseline == pytest.approx(
        {
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(targets, constant),
            "macro_f1": sklearn_metrics.f1_score(targets, constant, average="macro"),
            "auc": 0.5,
        }
    )


@pytest.mark.parametrize("size", [2, 3, 5])
def test_figures_do_not_depend_on_the_number_of_ranks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = some_rows()
    alone = results(1, logits, targets)
    monkeypatch.setattr(class_metrics, "BLOCK_SCORES", 500)  # scores go in several blocks of classes
    assert results(size, logits, targets) == alone


def test_two_classes_have_one_area(sklearn_metrics: ModuleType) -> None:
    logits, targets = some_rows()
    some = targets < 2
    found = results(1, logits[some][:, :2], targets[some])
    areas = [row["auc"] for row in found["classes"]]
    assert (
        areas[0]
        == areas[1]
        == pytest.approx(sklearn_metrics.roc_auc_score(targets[some], softmax(logits[some][:, :2])[:, 1]))
    )


def test_many_classes_have_no_matrix_but_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = some_rows()
    whole = results(1, logits, targets)
    monkeypatch.setattr(class_metrics, "MOST_CLASSES_OF_A_MATRIX", 3)
    assert results(2, logits, targets) == {"classes": whole["classes"]}


def test_too_many_scores_leave_out_the_area_on_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = some_rows()
    monkeypatch.setattr(class_metrics, "MOST_SCORES", 4 * 200)  # more than one rank of three has, less than all have
    found = results(3, logits, targets)
    assert [row["auc"] for row in found["classes"]] == [None] * 4
    assert set(figures(found)[0]) == {"balanced_accuracy", "macro_f1"}


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([s for s, _ in rows], np.float32), np.array([p for _, p in rows])
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert area_under_roc(scores, positive) == (pytest.approx(np.mean(pairs)) if pairs else None)


def test_log_odds_do_not_saturate_where_probabilities_do() -> None:
    logits = np.array([[0.0, 40.0], [0.0, 41.0], [0.0, -800.0]], np.float32)
    assert softmax(logits)[:2, 1].tolist() == [1.0, 1.0]
    assert log_odds(logits)[:, 1].tolist() == [40.0, 41.0, -800.0]
    p = softmax(some_rows()[0])
    assert log_odds(some_rows()[0]) == pytest.approx(np.log(p / (1 - p)), abs=1e-5)


def test_the_matrix_is_written_and_drawn_and_the_table_names_what_is_confused(tmp_path: Path) -> None:
    logits, targets = some_rows()
    found = results(1, logits, targets)
    run_dir = RunDir(tmp_path)
    write_confusion(found, run_dir, title="a net")
    rows = list(csv.reader(io.StringIO(run_dir.confusion.read_text())))
    assert [row[0] for row in rows[1:]] == list(NAMES)
    assert np.array([row[1:] for row in rows[1:]], int).sum() == len(targets)
    assert run_dir.confusion_picture.stat().st_size > 10_000
    console = Console(width=110, file=io.StringIO())
    console.print(classes_table(found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold]odd" in text
    worst = found["most_confused"][0]
    assert f"{worst['label']} as {worst['predicted']} ({worst['rows']})" in text
