"""What a resumed run tells about itself: times, the best epoch and the place are those of the whole run, not of one session."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from resuming import Interrupted, StopAt, skip_unless_shared, use_own_metric

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.events import Observer
from hvd_train.runs import Progress, RunDir, checkpoint, read_progress, summary_of
from hvd_train.training.run import train_and_evaluate

STEPS = 40
CONFIG = recipes.DEBUG.replace(
    table={"num_songs": 3000},
    split={"num_virtual_shards": 60},
    training={
        "num_epochs": 4,
        "global_batch_size": 60,
        "steps_per_execution": 1,
        "checkpoint_every_steps": 10,
        "monitor": "flat",
    },
    evaluation={"metrics": ("own.py:flat",)},
)
# Never better than in the first epoch. No table knows a metric of one's own, so only the run can tell its best epoch.
FLAT = """
import numpy as np

from hvd_train.evaluation import Metric

flat = Metric(name="flat", title="flat", higher_is_better=True, row_terms=lambda rows: np.ones(len(rows)))
"""


class Sees(Observer):
    """What the run tells when it goes on, and how progress.json and metrics.csv then are."""

    def __init__(self) -> None:
        self.resumed: list[tuple[int, int, int]] = []
        self.rows: list[int] = []
        self.progress: list[Progress | None] = []

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        self.run_dir = RunDir(run_dir)

    def on_resume(self, rows: Sequence[dict[str, float]], *, step: int, best_epoch: int) -> None:
        self.resumed.append((len(rows), step, best_epoch))
        text = self.run_dir.metrics.read_text() if self.run_dir.metrics.exists() else ""
        self.rows.append(len(list(csv.DictReader(text.splitlines()))))

    def on_steps(self, *_: Any) -> None:
        self.progress.append(read_progress(self.run_dir))


def stop(world: World, run_dir: RunDir, step: int, *, resume: bool) -> Sees:
    sees = Sees()
    with pytest.raises(Interrupted):
        train_and_evaluate(CONFIG, world, run_dir, resume=resume, callbacks=[sees], watch=StopAt(step))
    world.allgather(0)  # the root has written its last checkpoint
    return sees


def test_times_and_the_best_epoch_are_those_of_all_sessions(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_shared(world, 60, "virtual shards")
    use_own_metric(world, shared_dir, FLAT, monkeypatch)
    run_dir = RunDir(shared_dir / "run")
    stop(world, run_dir, 25, resume=False)
    first = checkpoint.load(run_dir.last).state
    assert (first.epoch, first.step, first.sessions) == (0, 20, 1)
    assert 0 < first.epoch_seconds == first.seconds < first.wall_seconds
    if world.is_root:  # as a run leaves it that is killed while it writes the checkpoint of an epoch
        run_dir.metrics.write_text("epoch,loss\n1,1.0\n")

    second = stop(world, run_dir, 2 * STEPS + 15, resume=True)
    state = checkpoint.load(run_dir.last).state
    assert (state.epoch, state.step, state.sessions, state.best_epoch) == (2, 10, 2, 1)
    assert state.history[0]["seconds"] > first.epoch_seconds
    assert state.seconds == pytest.approx(sum(row["seconds"] for row in state.history) + state.epoch_seconds)
    assert state.wall_seconds > first.wall_seconds + state.seconds - first.seconds

    last = Sees()
    report = train_and_evaluate(CONFIG, world, run_dir, resume=True, callbacks=[last])
    assert (report.epochs, report.best_epoch, report.sessions) == (4, 1, 3)
    assert report.train_seconds == pytest.approx(sum(row["seconds"] for row in report.history))
    assert report.wall_seconds > state.wall_seconds + report.train_seconds - state.seconds
    if not world.is_root:
        return
    assert (second.resumed, last.resumed) == ([(0, 20, 0)], [(2, 10, 1)])
    assert (second.rows, last.rows) == ([0], [2])
    at_first = last.progress[0]
    assert at_first is not None
    assert (at_first.epoch, at_first.step, at_first.best_epoch) == (3, 10, 1)
    assert json.loads(run_dir.report.read_text())["sessions"] == 3
    assert summary_of(run_dir.path).seconds == pytest.approx(report.train_seconds)
    assert "all 3 sessions" in run_dir.page.read_text()
