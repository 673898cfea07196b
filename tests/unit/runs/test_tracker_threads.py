"""Trackers in threads: one that raises, hangs or is slow neither stops nor delays what trains, and is reported once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hvd_train.runs.trackers import Tracker, Trackers, background

REPORT = SimpleNamespace(metrics={"test": {"rmse": 9.5}}, best_epoch=1, epochs=1)


class Records(Tracker):
    """Keeps its events, and in which thread they came."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.threads: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_") and name != "close":
            return super().__getattribute__(name)

        def receive(*arguments: Any, **named: Any) -> None:
            self.threads.add(threading.current_thread().name)
            self.heard.append(name)

        return receive


class Hangs(Tracker):
    """Waits for a server that does not answer."""

    def __init__(self) -> None:
        self.answer, self.num_epochs, self.num_steps = threading.Event(), 0, 0

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        self.answer.wait()

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        self.num_epochs += 1

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        self.num_steps += 1


class Raises(Tracker):
    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        raise ConnectionError("the server is gone")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine, too, ends its threads within the limits."""
    monkeypatch.setattr(background, "LIMIT_S", 60.0)
    monkeypatch.setattr(background, "EARLY_LIMIT_S", 60.0)


@pytest.fixture
def hangs() -> Iterator[Hangs]:
    tracker = Hangs()
    yield tracker
    tracker.answer.set()


def begin(trackers: Trackers, tmp_path: Path) -> None:
    trackers.on_start({"seed": 7}, {"ranks": "2"}, tmp_path)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_event_comes_in_order_and_in_another_thread(tmp_path: Path) -> None:
    records, told = Records(), list[str]()
    trackers = Trackers([records], told.append)
    trackers.on_message("a sentence")
    begin(trackers, tmp_path)
    trackers.on_epoch_begin(1, 1, 10)
    trackers.on_steps(5, 10, 100.0, 2.0)
    trackers.on_learning_rate(5, 0.1)
    trackers.on_epoch_end({"epoch": 1}, best=True)
    trackers.on_end(REPORT)
    trackers.close()
    trackers.close()
    expected = ["on_message", "on_start", "on_epoch_begin", "on_steps", "on_learning_rate", "on_epoch_end", "on_end"]
    assert records.heard == [*expected, "close"]
    assert records.threads == {"Records"}
    assert told == []


def test_one_that_raises_is_reported_once_and_the_others_go_on(tmp_path: Path) -> None:
    records, told = Records(), list[str]()
    trackers = Trackers([Raises(), records], told.append)
    begin(trackers, tmp_path)
    trackers.on_epoch_end({"epoch": 1}, best=True)
    until(lambda: "on_epoch_end" in records.heard)
    until(lambda: trackers.on_message("") or bool(told))
    trackers.on_epoch_end({"epoch": 2}, best=True)
    trackers.on_end(REPORT)
    trackers.close()
    assert told == ["Raises failed in on_epoch_end (ConnectionError: the server is gone). The run goes on without it."]
    assert records.heard.count("on_epoch_end") == 2


def test_a_failure_in_the_last_event_is_still_reported(tmp_path: Path) -> None:
    class FailsLast(Tracker):
        def close(self) -> None:
            raise OSError("no space left")

    told: list[str] = []
    trackers = Trackers([FailsLast()], told.append)
    begin(trackers, tmp_path)
    trackers.on_end(REPORT)
    trackers.close()
    assert told == ["FailsLast failed in close (OSError: no space left). The run goes on without it."]


def test_one_that_hangs_delays_no_event_and_loses_steps_before_epochs(tmp_path: Path, hangs: Hangs) -> None:
    told: list[str] = []
    trackers = Trackers([hangs], told.append)
    begin(trackers, tmp_path)
    for step in range(3 * background.ROOM):
        trackers.on_steps(step, 1, 100.0, 2.0)
    for epoch in range(100):
        trackers.on_epoch_end({"epoch": epoch + 1}, best=False)
    assert told == ["Hangs is slower than the training, so it misses some events. The run does not wait for it."]
    hangs.answer.set()
    trackers.on_end(REPORT)
    trackers.close()
    assert hangs.num_epochs == 100
    assert abs(hangs.num_steps - background.ROOM_FOR_STEPS) <= 2
    assert len(told) == 1


@pytest.mark.parametrize("is_complete", [True, False])
def test_the_end_waits_a_limited_time_and_says_so(
    tmp_path: Path, hangs: Hangs, is_complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LIMIT_S", 0.9)
    monkeypatch.setattr(background, "EARLY_LIMIT_S", 0.4)
    told: list[str] = []
    records = Records()
    trackers = Trackers([hangs, records], told.append)
    begin(trackers, tmp_path)
    if is_complete:
        trackers.on_end(REPORT)
    started = time.monotonic()
    trackers.close()
    limit_s = 0.9 if is_complete else 0.4
    assert time.monotonic() - started >= limit_s
    assert [text for text in told if text.startswith("Hangs")] == [
        f"Hangs was not done {limit_s:g} s after the end, and the run does not wait longer: it lacks what came last. "
        "The files of the run are complete without it."
    ]
    until(lambda: "close" in records.heard)


def test_a_full_queue_does_not_keep_the_end(tmp_path: Path, hangs: Hangs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "LIMIT_S", 0.3)
    told: list[str] = []
    trackers = Trackers([hangs], told.append)
    begin(trackers, tmp_path)
    for epoch in range(background.ROOM + 10):
        trackers.on_epoch_end({"epoch": epoch + 1}, best=False)
    trackers.on_end(REPORT)
    trackers.close()
    assert len(told) == 2
    assert told[1].startswith("Hangs was not done 0.3 s after the end")


def test_training_ends_where_a_tracker_calls_exit_in_its_thread(tmp_path: Path) -> None:
    class Exits(Tracker):
        def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
            raise SystemExit(3)

    told: list[str] = []
    trackers = Trackers([Exits()], told.append)
    begin(trackers, tmp_path)
    trackers.close()
    assert told == ["Exits failed in on_start (SystemExit: 3). The run goes on without it."]
