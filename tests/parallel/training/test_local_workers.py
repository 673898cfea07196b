"""Local steps: the number of ranks does not change the experiment, and an interruption does not either."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from resuming import TIMES, assert_same_end, common_run_dir, skip_unless_shared, stopped

from hvd_train.config import recipes
from hvd_train.distributed import SoloWorld, agreement
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError, ToBeContinued
from hvd_train.runs import RunDir, checkpoint
from hvd_train.training.run import train_and_evaluate, train_guarded

# 52 steps of 60 rows an epoch, in turns of four. Everything that is drawn is drawn here.
CONFIG = recipes.DEBUG.replace(
    split={"num_virtual_shards": 60},
    sampling={"noise": 0.2, "feature_dropout": 0.1, "mixup_alpha": 0.3},
    model={"conv_dropout": 0.25, "dense_dropout": 0.5},
    training={"num_epochs": 2, "global_batch_size": 60, "averaging": "ema", "ema_momentum": 0.9,
              "checkpoint_every_steps": 10, "check_equal_weights": True},
    distributed={"local_steps": 4, "virtual_workers": 4},
)  # fmt: skip
CURVE = 1e-3


@pytest.fixture(autouse=True)
def sharing(world: World) -> None:
    skip_unless_shared(world, 4, "virtual workers")


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    skip_unless_shared(world, 4, "virtual workers")
    run_dir = common_run_dir(world, tmp_path_factory)
    train_and_evaluate(CONFIG, world, run_dir)
    return run_dir


def alone(world: World) -> SoloWorld:
    """This process as the one rank of a run of its own."""
    return SoloWorld(replace(world.placement, rank=0, size=1, local_rank=0, local_size=1), world.settings)


def curve(run_dir: RunDir) -> list[dict[str, float]]:
    rows = checkpoint.load(run_dir.last).state.history
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def assert_alike(one: RunDir, other: RunDir) -> None:
    """Every figure of every epoch, and the weights of the end, within the rounding of sums in another order."""
    for a, b in zip(curve(one), curve(other), strict=True):
        assert a == pytest.approx(b, rel=CURVE)
    pairs = zip(checkpoint.load(one.last).variables, checkpoint.load(other.last).variables, strict=True)
    assert max(float(np.abs(np.asarray(a, float) - b).max(initial=0)) for a, b in pairs) < CURVE


def test_one_process_computes_the_same_curve(world: World, whole: RunDir, tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "alone")
    report = train_and_evaluate(CONFIG, alone(world), run_dir)
    assert_alike(run_dir, whole)
    assert report.facts["local steps"] == (
        "4 between two averages, by 4 virtual workers (4 on each rank) of 15 rows a step; moments averaged after each epoch"
    )


@pytest.mark.slow
def test_it_is_another_experiment_than_an_average_in_every_step(world: World, whole: RunDir, shared_dir: Path) -> None:
    run_dir = RunDir(shared_dir / "every-step")
    train_and_evaluate(CONFIG.replace(distributed={"local_steps": 1, "virtual_workers": None}), world, run_dir)
    world.allgather(0)
    differences = [abs(a["loss"] - b["loss"]) for a, b in zip(curve(run_dir), curve(whole), strict=True)]
    assert min(differences) > CURVE


def test_stopped_within_an_epoch_it_goes_on_bit_for_bit(world: World, whole: RunDir, shared_dir: Path) -> None:
    """The moments differ between the workers there: a checkpoint has those of all."""
    run_dir = RunDir(shared_dir / "run")
    stopped(CONFIG, world, run_dir, 28, 52 + 24)
    state = checkpoint.load(run_dir.last).state
    assert (state.epoch, state.step) == (1, 20)
    train_and_evaluate(CONFIG, world, run_dir, resume=True)
    world.allgather(0)
    assert_same_end(run_dir, whole)


@pytest.mark.slow
def test_it_goes_on_at_another_number_of_ranks(world: World, whole: RunDir, shared_dir: Path, tmp_path: Path) -> None:
    run_dir = RunDir(shared_dir / "run")
    stopped(CONFIG, world, run_dir, 28)
    copy = RunDir(tmp_path / "copy")
    shutil.copytree(run_dir.path, copy.path)
    world.allgather(0)
    train_and_evaluate(CONFIG, alone(world), copy, resume=True)
    assert_alike(copy, whole)


class Warned(keras.callbacks.Callback):  # type: ignore[misc]
    """Warns this rank after the first step of its first worker."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.slow
def test_a_warned_run_ends_between_two_turns(
    world: World, whole: RunDir, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "LONGEST_S", 0)
    run_dir = RunDir(shared_dir / "run")
    config = CONFIG.replace(training={"steps_per_execution": 1})
    with pytest.raises(ToBeContinued):
        train_guarded(config, world, run_dir, callbacks=[Warned()], grace_s=None)
    world.allgather(0)
    state = checkpoint.load(run_dir.last).state
    assert (state.epoch, state.step) == (0, 4)
    train_guarded(CONFIG, world, run_dir, resume=True, grace_s=None)
    world.allgather(0)
    assert_same_end(run_dir, whole)


def test_other_workers_do_not_go_on_from_it(world: World, whole: RunDir, shared_dir: Path) -> None:
    copy = RunDir(shared_dir / "copy")
    world.together(lambda: shutil.copytree(whole.path, copy.path), on="root")
    other: Any = CONFIG.replace(distributed={"virtual_workers": 12}, training={"num_epochs": 3})
    with pytest.raises(Exception, match="belongs to another model"):
        train_and_evaluate(other, world, copy, resume=True)


def test_ranks_that_do_not_share_the_workers_are_refused(world: World, shared_dir: Path) -> None:
    odd = CONFIG.replace(distributed={"virtual_workers": 5})
    if world.size == 1:
        pytest.skip("one rank computes any number of workers")
    with pytest.raises(ConfigError, match=f"{world.size} ranks cannot share 5 virtual workers"):
        train_and_evaluate(odd, world, RunDir(shared_dir / "run"))
