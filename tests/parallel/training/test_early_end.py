"""Warned runs: all ranks end after the same step, everything is saved, and the resumed run is the undisturbed one."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from resuming import TIMES, assert_same_end, common_run_dir, skip_unless_shared

from hvd_train.config import RunConfig, recipes
from hvd_train.distributed import agreement
from hvd_train.distributed.world import World
from hvd_train.errors import TO_BE_CONTINUED, ToBeContinued
from hvd_train.events import Observer
from hvd_train.processes import Stopped, early_end
from hvd_train.runs import RunDir, checkpoint
from hvd_train.training import run
from hvd_train.training.loop import TrainingLoop
from hvd_train.training.run import train_guarded

# 53 steps an epoch, in executions of 16. Everything that is drawn is drawn here.
CONFIG = recipes.DEBUG.replace(
    table={"num_songs": 4000},
    split={"num_virtual_shards": 60},
    sampling={"noise": 0.2, "feature_dropout": 0.1, "mixup_alpha": 0.3},
    model={"conv_dropout": 0.25, "dense_dropout": 0.5},
    training={"num_epochs": 2, "global_batch_size": 60, "averaging": "ema", "ema_momentum": 0.9},
)
ALL, ROOT, LAST = "all", "root", "last"


class Sends(keras.callbacks.Callback):  # type: ignore[misc]
    """Sends signals to this very rank, after so many executions of a session or at another event."""

    def __init__(self, world: World, who: str, *numbers: int, after: int = 0, at: str = "") -> None:
        super().__init__()
        self._sends = {ALL: True, ROOT: world.is_root, LAST: world.rank == world.size - 1}[who]
        self._numbers, self._after, self._at = numbers, after, at
        self._executions = 0

    def _event(self, name: str) -> None:
        if self._sends and name == self._at:
            for number in self._numbers:
                os.kill(os.getpid(), number)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._executions += 1
        if self._executions == self._after:
            self._at = "now"
            self._event("now")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._event(f"begin {epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._event(f"end {epoch + 1}")


@pytest.fixture(autouse=True)
def ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranks ask each other after each execution, so that the step of the end is known."""
    monkeypatch.setattr(agreement, "LONGEST_S", 0)


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    skip_unless_shared(world, 60, "virtual shards")
    run_dir = common_run_dir(world, tmp_path_factory)
    train_guarded(CONFIG, world, run_dir)
    return run_dir


def warned(world: World, run_dir: RunDir, sends: Sends, *, resume: bool, config: RunConfig = CONFIG) -> ToBeContinued:
    with pytest.raises(ToBeContinued) as raised:
        train_guarded(config, world, run_dir, resume=resume, callbacks=[sends], grace_s=None)
    assert len(set(world.allgather(raised.value.what))) == 1
    assert raised.value.exit_code == TO_BE_CONTINUED
    assert early_end.reason == ""
    return raised.value


def saved(run_dir: RunDir) -> tuple[int, int]:
    """Complete epochs, and steps of the next."""
    state = checkpoint.load(run_dir.last).state
    return state.epoch, state.step


def figures(run_dir: RunDir) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """metrics.csv and report.json without times."""
    with run_dir.metrics.open() as file:
        rows = [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]
    report = json.loads(run_dir.report.read_text())
    return rows, {key: report[key] for key in ("metrics", "baselines", "details", "best_epoch", "epochs", "verdict")}


def test_a_run_that_was_warned_often_ends_like_the_undisturbed_one(
    world: World, shared_dir: Path, whole: RunDir
) -> None:
    """Warned on one rank and on all, in the first epoch, in the last, and at the end of one. Each session gets further."""
    run_dir = RunDir(shared_dir / "run")
    places = []
    for number, (who, signals, after, at) in enumerate(
        [
            (ALL, [signal.SIGUSR1], 1, ""),
            (LAST, [signal.SIGUSR2], 2, ""),
            (ROOT, [signal.SIGXCPU], 0, "end 1"),
            (ALL, [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1], 1, ""),
            (LAST, [signal.SIGUSR1], 1, ""),
        ]
    ):
        warned(world, run_dir, Sends(world, who, *signals, after=after, at=at), resume=number > 0)
        world.allgather(0)
        places.append(saved(run_dir))
    assert places == [(0, 16), (0, 48), (1, 0), (1, 16), (1, 32)]
    train_guarded(CONFIG, world, run_dir, resume=True)
    assert_same_end(run_dir, whole)
    world.allgather(0)
    assert figures(run_dir) == figures(whole)


@pytest.mark.slow
def test_executions_of_other_lengths_end_alike(world: World, shared_dir: Path, whole: RunDir) -> None:
    """A resumed run may cut its steps in another way."""
    run_dir = RunDir(shared_dir / "run")
    other = CONFIG.replace(training={"steps_per_execution": 5})
    warned(world, run_dir, Sends(world, ALL, signal.SIGUSR1, after=3), resume=False, config=other)
    world.allgather(0)
    assert saved(run_dir) == (0, 15)
    train_guarded(CONFIG, world, run_dir, resume=True)
    assert_same_end(run_dir, whole)


@pytest.mark.slow  # three runs of a rare setting
def test_gradients_that_are_summed_up_are_complete_when_they_are_saved(world: World, shared_dir: Path) -> None:
    if world.size == 1 or 60 % world.size:
        pytest.skip("one rank has nothing to send less often")
    config = CONFIG.replace(distributed={"backward_passes_per_step": 3}, training={"steps_per_execution": 4})
    run_dir = RunDir(shared_dir / "run")
    warned(world, run_dir, Sends(world, LAST, signal.SIGUSR1, after=1), resume=False, config=config)
    world.allgather(0)
    assert saved(run_dir) == (0, 12)
    whole = RunDir(shared_dir / "whole")
    train_guarded(config, world, whole)
    train_guarded(config, world, run_dir, resume=True)
    assert_same_end(run_dir, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_saves_where_there_is_time(
    world: World, shared_dir: Path, whole: RunDir, number: signal.Signals
) -> None:
    run_dir = RunDir(shared_dir / "run")
    with pytest.raises(Stopped) as stopped:
        train_guarded(CONFIG, world, run_dir, callbacks=[Sends(world, ROOT, number, after=2)], grace_s=None)
    assert (stopped.value.number, stopped.value.exit_code) == (number, 128 + number)
    world.allgather(0)
    assert saved(run_dir) == (0, 32)
    assert stopped.value.saved == "saved after step 32 of 53 in epoch 1"


@pytest.mark.parametrize("when", ["in the last steps", "in the validation"])
def test_a_stop_at_the_end_of_an_epoch_loses_none_of_it(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Where no checkpoint of this epoch is possible any more, or not yet."""
    original = TrainingLoop._validate

    def stopped_in(loop: TrainingLoop, *arguments: Any) -> dict[str, float]:
        if world.is_root and when == "in the validation":
            os.kill(os.getpid(), signal.SIGTERM)
        return original(loop, *arguments)

    monkeypatch.setattr(TrainingLoop, "_validate", stopped_in)
    run_dir = RunDir(shared_dir / "run")
    sends = Sends(world, ROOT, signal.SIGTERM, after=4 if when == "in the last steps" else 0)
    with pytest.raises(Stopped) as stopped:
        train_guarded(CONFIG, world, run_dir, callbacks=[sends], grace_s=None)
    assert stopped.value.saved == "saved after epoch 1"
    world.allgather(0)
    assert saved(run_dir) == (1, 0)


def test_a_stop_interrupts_a_validation_for_which_it_leaves_no_time(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it says how it ended, before it is ended by force. The first validation told how long they are."""
    original = TrainingLoop._validate

    def long(loop: TrainingLoop, *arguments: Any) -> dict[str, float]:
        if loop.state.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(4.0)
        return original(loop, *arguments)

    monkeypatch.setattr(TrainingLoop, "_validate", long)
    run_dir = RunDir(shared_dir / "run")
    with pytest.raises(Stopped) as stopped:
        train_guarded(CONFIG, world, run_dir, grace_s=10.0)
    assert not stopped.value.saved
    world.allgather(0)
    assert saved(run_dir) == (1, 0)


def test_a_warning_in_a_validation_ends_the_run_before_the_next_epoch(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However seldom the ranks ask each other: executions may be so short that the next question is epochs away."""
    monkeypatch.setattr(agreement, "interval", lambda *_: 10**6)
    run_dir = RunDir(shared_dir / "run")
    warned(world, run_dir, Sends(world, LAST, signal.SIGUSR1, at="end 1"), resume=False)
    world.allgather(0)
    assert saved(run_dir) == (1, 0)


def test_a_warning_before_the_first_step_saves_nothing(world: World, shared_dir: Path, whole: RunDir) -> None:
    run_dir = RunDir(shared_dir / "run")
    error = warned(world, run_dir, Sends(world, LAST, signal.SIGUSR1, at="begin 1"), resume=False)
    assert "Nothing had to be saved" in str(error)
    assert not run_dir.last.exists()
    warned(world, run_dir, Sends(world, ALL, signal.SIGUSR1, after=1), resume=False)
    error = warned(world, run_dir, Sends(world, ALL, signal.SIGUSR1, at="begin 1"), resume=True)
    assert error.what == "stopped by SIGUSR1, saved after step 16 of 53 in epoch 1."


@pytest.mark.slow
def test_a_warning_in_the_last_validation_or_the_final_evaluation_comes_too_late(
    world: World, shared_dir: Path, whole: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = run.evaluate_final

    def late(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR2)
        return original(*arguments)

    monkeypatch.setattr(run, "evaluate_final", late)
    for name, sends in (("validation", Sends(world, ALL, signal.SIGUSR1, at="end 2")), ("final", None)):
        run_dir = RunDir(shared_dir / name)
        train_guarded(CONFIG, world, run_dir, callbacks=[sends] if sends else [])
        world.allgather(0)
        assert figures(run_dir) == figures(whole)


def test_the_conversion_of_a_table_is_left_on_a_warning(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the rank that converts. What it began is removed, and the next run converts from the start."""
    from hvd_train.training import open_data

    original = open_data.prepare

    def slow(*arguments: Any, progress: Callable[..., None], **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        progress(1, 2)
        return original(*arguments, progress=progress, **named)

    monkeypatch.setattr(open_data, "prepare", slow)
    run_dir = RunDir(shared_dir / "run")
    error = warned(world, run_dir, Sends(world, ALL), resume=False)
    assert error.what == "stopped by SIGUSR1 before the first step."
    assert not run_dir.path.exists()


class Hears(Observer):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str) -> None:
        self.messages.append(text)


class LimitsTime(keras.callbacks.Callback):  # type: ignore[misc]
    """At the end of the first epoch one rank has little time left. Only then: short epochs would put its end off for ever."""

    def __init__(self, is_short: bool) -> None:
        super().__init__()
        self._is_short = is_short

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._is_short and epoch == 0:
            early_end.stop_after(0.5, from_now=True)


def test_a_limit_of_time(world: World, shared_dir: Path, whole: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of ranks differ: on the last rank alone it is over. The ranks ask each other as seldom as usual."""
    monkeypatch.undo()
    run_dir, heard = RunDir(shared_dir / "run"), Hears()
    config = CONFIG.replace(training={"num_epochs": 100_000, "early_stopping_patience": 0, "plateau_patience": 0})
    callbacks = [heard, LimitsTime(world.rank == world.size - 1)]
    with pytest.raises(ToBeContinued, match="stopped by --stop-after, saved after"):
        train_guarded(config, world, run_dir, callbacks=callbacks, stop_after_s=3600.0)
    assert any(text.startswith("--stop-after came") for text in heard.messages) == world.is_root
    assert not early_end.reason
