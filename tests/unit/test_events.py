"""Observers: each receives every event; an optional one that fails is reported once and switched off."""

from __future__ import annotations

from typing import Any

import pytest

from hvd_train.events import Observer, Observers


class Recorder(Observer):
    """Keeps what it heard, and fails in the events of `fails_in`."""

    def __init__(self, *, fails_in: tuple[str, ...] = (), is_optional: bool = False) -> None:
        self.heard: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.fails_in, self.is_optional = fails_in, is_optional

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_") and name != "close":
            return super().__getattribute__(name)

        def receive(*arguments: Any, **named: Any) -> None:
            self.heard.append((name, arguments, named))
            if name in self.fails_in:
                raise RuntimeError("no disk")

        return receive

    @property
    def events(self) -> list[str]:
        return [name for name, _, _ in self.heard]


def all_events(observer: Observer, path: Any) -> None:
    observer.on_message("a sentence")
    observer.on_preparation(1, 2)
    observer.on_start({"model": {"name": "mlp"}}, {"ranks": "2"}, path)
    observer.on_resume([{"loss": 3.0}], step=2, best_epoch=1)
    observer.on_epoch_begin(1, 2, 10)
    observer.on_steps(4, 10, 100.0, 2.5)
    observer.on_learning_rate(4, 0.001)
    observer.on_epoch_end({"loss": 2.0}, best=True)
    observer.on_end("the report")
    observer.close()


def test_each_observer_receives_every_event(tmp_path: Any) -> None:
    alone, first, second = Recorder(), Recorder(), Recorder()
    all_events(alone, tmp_path)
    all_events(Observers([first, second]), tmp_path)
    assert first.heard == second.heard == alone.heard
    events = {name for name in vars(Observer) if name.startswith("on_")} | {"close"}
    assert set(alone.events) == events == {name for name in vars(Observers) if name.startswith("on_")} | {"close"}


def test_an_optional_observer_that_fails_is_reported_once_and_switched_off(tmp_path: Any) -> None:
    console, tracker = Recorder(), Recorder(fails_in=("on_epoch_begin", "on_epoch_end", "close"), is_optional=True)
    all_events(Observers([tracker, console]), tmp_path)
    assert tracker.events == ["on_message", "on_preparation", "on_start", "on_resume", "on_epoch_begin"]
    messages = [arguments[0] for name, arguments, _ in console.heard if name == "on_message"]
    assert messages[1:] == ["Recorder failed in on_epoch_begin (RuntimeError: no disk). The run goes on without it."]
    assert console.events[-1] == "close"


def test_the_failure_of_any_other_observer_ends_the_run(tmp_path: Any) -> None:
    with pytest.raises(RuntimeError, match="no disk"):
        all_events(Observers([Recorder(fails_in=("on_steps",))]), tmp_path)


def test_two_optional_observers_may_fail_while_a_message_is_passed_on() -> None:
    console = Recorder()
    Observers([Recorder(fails_in=("on_message",), is_optional=True) for _ in range(2)] + [console]).on_message("text")
    assert len([event for event in console.events if event == "on_message"]) == 3
