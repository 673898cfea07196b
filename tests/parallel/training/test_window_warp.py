"""Series that are warped and jittered: neither the number of ranks nor an interruption changes what is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from resuming import TIMES, assert_same_end, common_run_dir, skip_unless_shared, stopped
from series_files import some_series, ts_text

from hvd_train.config import RunConfig, recipes
from hvd_train.distributed import SoloWorld
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError
from hvd_train.runs import RunDir, checkpoint
from hvd_train.training.run import train_and_evaluate

NUM_SHARDS = 12
DRAWN = {"window_warp": 0.5, "noise": 0.1, "mixup_alpha": 0.3}


@pytest.fixture(scope="module")
def config(world: World, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Series of 12 to 20 positions x 2 channels, of three classes. 9 steps an epoch."""
    skip_unless_shared(world, NUM_SHARDS, "virtual shards")
    path = common_run_dir(world, tmp_path_factory).path.with_suffix(".ts")
    world.together(lambda: path.write_text(ts_text(*some_series(300, 2, (12, 20)))), on="root")
    return recipes.DEBUG.replace(
        table={"path": path, "cache_dir": path.parent / "cache"},
        split={"num_virtual_shards": NUM_SHARDS},
        sampling=DRAWN,
        model={"transform": "series"},
        training={"num_epochs": 2, "global_batch_size": 24, "checkpoint_every_steps": 2, "steps_per_execution": 1},
    )


@pytest.fixture(scope="module")
def whole(world: World, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run_dir = common_run_dir(world, tmp_path_factory)
    train_and_evaluate(config, world, run_dir)
    return run_dir


def curve(run_dir: RunDir) -> list[dict[str, float]]:
    rows = checkpoint.load(run_dir.last).state.history
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def test_one_process_draws_what_all_ranks_draw(world: World, config: RunConfig, whole: RunDir, tmp_path: Path) -> None:
    one = RunDir(tmp_path / "alone")
    placement = replace(world.placement, rank=0, size=1, local_rank=0, local_size=1)
    train_and_evaluate(config, SoloWorld(placement, world.settings), one)
    for a, b in zip(curve(one), curve(whole), strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_a_stopped_run_goes_on_with_the_same_windows(
    world: World, config: RunConfig, whole: RunDir, shared_dir: Path
) -> None:
    run_dir = RunDir(shared_dir / "run")
    stopped(config, world, run_dir, 5)
    train_and_evaluate(config, world, run_dir, resume=True)
    world.allgather(0)
    assert_same_end(run_dir, whole)


def test_without_the_windows_it_is_another_run(
    world: World, config: RunConfig, whole: RunDir, shared_dir: Path
) -> None:
    run_dir = RunDir(shared_dir / "plain")
    train_and_evaluate(config.replace(sampling={"window_warp": 0.0}), world, run_dir)
    world.allgather(0)
    assert abs(curve(run_dir)[0]["loss"] - curve(whole)[0]["loss"]) > 1e-3


def test_rows_that_are_no_series_are_refused_on_all_ranks(world: World, shared_dir: Path) -> None:
    skip_unless_shared(world, NUM_SHARDS, "virtual shards")
    songs = recipes.DEBUG.replace(
        split={"num_virtual_shards": NUM_SHARDS}, sampling=DRAWN, training={"global_batch_size": 24}
    )
    with pytest.raises(ConfigError, match=r"window_warp = 0\.5 is not possible: the rows are no series"):
        train_and_evaluate(songs, world, RunDir(shared_dir / "songs"))
