"""hvd_train.train, evaluate, predict and load, on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import hvd_train
from hvd_train.api import world as api_world
from hvd_train.distributed import World
from hvd_train.errors import ConfigError, UserError

CONFIG = hvd_train.recipe("debug").replace(
    split={"num_virtual_shards": 24}, training={"num_epochs": 2, "global_batch_size": 48, "watchdog_s": 30.0}
)
ROWS = np.random.default_rng(0).normal(size=(1200, 6)).astype(np.float32)
STATES = np.where(ROWS[:, 0] + ROWS[:, 3] > 0, "open", "closed")


@pytest.fixture(autouse=True)
def _one_world(world: World) -> Iterator[None]:
    """The functions find the world that the tests have opened."""
    if 24 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 24 virtual shards")
    api_world._opened[:] = [world]
    yield
    api_world._opened.clear()


def test_arrays_train_evaluate_and_predict(world: World, shared_dir: Path) -> None:
    run_dir = shared_dir / "run"
    report = hvd_train.train(ROWS, labels=STATES, config=CONFIG, run_dir=run_dir, verbose=False)
    assert world.allgather(report.metrics["test"]["loss"]) == [report.metrics["test"]["loss"]] * world.size
    scores = hvd_train.evaluate(run_dir, split="test")
    assert scores["metrics"]["accuracy"] == pytest.approx(report.metrics["test"]["accuracy"])
    whole = hvd_train.evaluate(run_dir, ROWS, labels=STATES)
    assert whole["rows"] == len(ROWS)
    predicted = hvd_train.predict(run_dir, ROWS)
    assert list(predicted.columns) == ["most_likely", "probability"]
    assert (predicted["most_likely"] == STATES).mean() == pytest.approx(whole["metrics"]["accuracy"])
    trained = hvd_train.load(run_dir)
    assert trained.schema.label_values == ("closed", "open")
    assert trained.model.predict(ROWS[:5], verbose=0).shape == (5, 2)


def test_a_frame_may_come_in_another_order_of_columns(world: World, shared_dir: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=list("abcdef")).assign(state=STATES)
    run_dir = shared_dir / "run"
    hvd_train.train(frame, label="state", config=CONFIG, run_dir=run_dir, verbose=False)
    turned = hvd_train.predict(run_dir, frame[list("fedcba")])
    pd.testing.assert_frame_equal(turned, hvd_train.predict(run_dir, frame))


def test_a_used_run_directory_is_refused_and_a_resumed_run_goes_on(world: World, shared_dir: Path) -> None:
    run_dir = shared_dir / "run"

    class Cut(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hvd_train.train(config=CONFIG, run_dir=run_dir, verbose=False, callbacks=[Cut()])
    with pytest.raises(UserError, match="holds a run already"):
        hvd_train.train(config=CONFIG, run_dir=run_dir, verbose=False)
    report = hvd_train.train(run_dir=run_dir, resume=True, verbose=False)
    assert report.epochs == 2
    whole = hvd_train.train(config=CONFIG, run_dir=shared_dir / "whole", verbose=False)
    assert [row["loss"] for row in report.history] == [row["loss"] for row in whole.history]


def test_one_call_begins_a_run_goes_on_and_returns_the_report_of_a_complete_one(world: World, shared_dir: Path) -> None:
    run_dir = shared_dir / "run"

    class Cut(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hvd_train.train(config=CONFIG, run_dir=run_dir, resume="auto", verbose=False, callbacks=[Cut()])
    report = hvd_train.train(config=CONFIG, run_dir=run_dir, resume="auto", verbose=False)
    assert report.epochs == 2
    assert report.history[0]["epoch"] == 1
    again = hvd_train.train(run_dir=run_dir, resume="auto", verbose=False)
    assert (again.date, again.metrics, again.history) == (report.date, report.metrics, report.history)


def test_observers_hear_the_root_alone(world: World, shared_dir: Path) -> None:
    class Listener(hvd_train.Observer):
        rows: list[dict[str, float]]

        def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
            self.rows.append(row)

    listener = Listener()
    listener.rows = []
    hvd_train.train(config=CONFIG, run_dir=shared_dir / "run", verbose=False, callbacks=[listener])
    assert len(listener.rows) == (2 if world.is_root else 0)


def test_wrong_calls_say_what_is_wrong(world: World, shared_dir: Path) -> None:
    with pytest.raises(ConfigError, match="resume = True is not possible without a run"):
        hvd_train.train(resume=True)
    with pytest.raises(ConfigError, match="resume = 'auto' is not possible without a run"):
        hvd_train.train(resume="auto")
    with pytest.raises(ConfigError, match="resume = 'no' is not possible: it is True, False or \"auto\""):
        hvd_train.train(run_dir=shared_dir / "run", resume="no")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="labels are for data in memory"):
        hvd_train.train("songs.csv", labels=STATES, run_dir=shared_dir / "run")
    with pytest.raises(UserError, match="no such file"):
        hvd_train.train(shared_dir / "songs.csv", run_dir=shared_dir / "run", verbose=False)
    with pytest.raises(UserError, match="is not a finished run"):
        hvd_train.predict(shared_dir, ROWS)
    assert not (shared_dir / "run" / "config.toml").exists()
