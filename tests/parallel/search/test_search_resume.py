"""A trial of a search that was interrupted: its value and its time are those of all its sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from resuming import Interrupted, StopAt, skip_unless_shared, use_own_metric

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.events import Observer, Watch
from hvd_train.runs import RunDir, checkpoint
from hvd_train.search.study import Study, Trial
from hvd_train.search.trials import SearchSettings, _train

# The lower the better, and told from outside.
GIVEN = """
import os

import numpy as np

from hvd_train.evaluation import Metric

given = Metric(name="given", title="given", higher_is_better=False,
               row_terms=lambda rows: np.full(len(rows), float(os.environ["GIVEN"])))
"""
CONFIG = recipes.DEBUG.replace(
    table={"num_songs": 3000},
    split={"num_virtual_shards": 60},
    training={"num_epochs": 3, "global_batch_size": 60, "steps_per_execution": 1, "monitor": "val_given"},
    evaluation={"metrics": ("own.py:given",)},
)
STEPS = 40


class NeverPrunes:
    """A study, as far as a trial that goes well needs one."""

    def report(self, number: int, epoch: int, score: float) -> bool:
        return False


def test_the_best_value_and_the_time_are_those_of_all_sessions(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_shared(world, 60, "virtual shards")
    use_own_metric(world, shared_dir, GIVEN, monkeypatch)
    settings = SearchSettings(config=CONFIG, space={}, folder=shared_dir, num_trials=1)
    trial = Trial(number=0, values={}, run_dir=RunDir(shared_dir / "trial"))
    studies = cast("list[Study]", [NeverPrunes()])

    def train(given: str, watch: Watch | None = None) -> tuple[Trial, Any]:
        monkeypatch.setenv("GIVEN", given)
        return _train(trial, settings, world, studies, lambda _: Observer(), watch)

    with pytest.raises(Interrupted):
        train("1", StopAt(STEPS + 5))
    world.allgather(0)
    earlier = checkpoint.load(trial.run_dir.last).state
    ended, score = train("2")
    assert (ended.state, ended.value, score) == ("complete", 1.0, 1.0), ended.note
    assert ended.seconds is not None
    assert ended.seconds > earlier.wall_seconds > 0
    again, _ = train("3")
    assert (again.state, again.value) == ("complete", 1.0), "as where a job ends before the study has noted the end"
