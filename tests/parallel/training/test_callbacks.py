"""`callbacks=`: Observers hear the root, Keras callbacks run on each rank, and neither changes or breaks the loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import pytest

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError
from hvd_train.events import Observer
from hvd_train.runs.directory import RunDir
from hvd_train.training.run import train_and_evaluate

CONFIG = recipes.DEBUG.replace(
    table={"num_songs": 1000},
    split={"num_virtual_shards": 60},
    training={"num_epochs": 3, "global_batch_size": 120, "steps_per_execution": 1},
)


class Listener(Observer):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        assert config["training"]["num_epochs"] == 3
        assert (run_dir / "config.toml").is_file()
        self.events.append("start")

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        self.events.append(f"epoch {row['epoch']}")

    def on_end(self, report: Any) -> None:
        self.events.append(f"end after {report.epochs}")

    def close(self) -> None:
        self.events.append("close")


class Stopper(keras.callbacks.Callback):  # type: ignore[misc]
    """Asks on one rank for the end: in the middle of the second epoch, as TerminateOnNaN does, or at its end."""

    def __init__(self, *, asks: bool, in_the_middle: bool) -> None:
        super().__init__()
        self.asks, self.in_the_middle = asks, in_the_middle
        self.epoch, self.steps = 0, 0
        self.logs: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.asks and self.in_the_middle and self.epoch == 1:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.logs.append(dict(logs))
        if self.asks and not self.in_the_middle and epoch == 1:
            self.model.stop_training = True


def shared(world: World, path: Path) -> RunDir:
    if 60 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 60 virtual shards")
    return RunDir(Path(world.broadcast(str(path))))


def test_observers_hear_the_root_and_keras_callbacks_see_equal_logs_on_all_ranks(world: World, tmp_path: Path) -> None:
    listener, silent = Listener(), Stopper(asks=False, in_the_middle=False)
    report = train_and_evaluate(CONFIG, world, shared(world, tmp_path / "run"), callbacks=[silent, listener])
    expected = ["start", "epoch 1", "epoch 2", "epoch 3", "end after 3", "close"]
    assert listener.events == (expected if world.is_root else [])
    assert len({str(logs) for logs in world.allgather(silent.logs)}) == 1
    assert [(logs["loss"], logs["val_loss"]) for logs in silent.logs] == [
        (row["loss"], row["val_loss"]) for row in report.history
    ]
    assert all(math.isfinite(logs["val_accuracy"]) for logs in silent.logs)


@pytest.mark.parametrize("in_the_middle", [True, False])
def test_a_stop_that_one_rank_asks_for_ends_all_after_the_same_whole_epoch(
    world: World, tmp_path: Path, in_the_middle: bool
) -> None:
    stopper = Stopper(asks=world.rank == world.size - 1, in_the_middle=in_the_middle)
    report = train_and_evaluate(CONFIG, world, shared(world, tmp_path / "run"), callbacks=[stopper])
    assert report.epochs == 2
    assert not report.stopped_early
    steps = world.allgather(stopper.steps)
    assert len(set(steps)) == 1
    assert steps[0] % 2 == 0


@pytest.mark.parametrize("wrong", [print, Listener])
def test_what_is_no_callback_is_refused_on_all_ranks_before_anything_is_written(
    world: World, tmp_path: Path, wrong: Any
) -> None:
    run_dir = shared(world, tmp_path / "run")
    with pytest.raises(ConfigError, match="callbacks"):
        train_and_evaluate(CONFIG, world, run_dir, callbacks=[wrong])
    assert not run_dir.path.exists()


def test_keras_callbacks_on_some_ranks_are_refused_on_all(world: World, tmp_path: Path) -> None:
    if world.size == 1:
        pytest.skip("one rank has no other")
    run_dir = shared(world, tmp_path / "run")
    callbacks = [Stopper(asks=False, in_the_middle=False)] if world.is_root else []
    with pytest.raises(ConfigError, match=r"of rank 1 are \[\], those of rank 0 are \['Stopper'\]"):
        train_and_evaluate(CONFIG, world, run_dir, callbacks=callbacks)
    assert not run_dir.path.exists()
