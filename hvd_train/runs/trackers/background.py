"""Trackers in threads: training hands an event over and goes on, whatever becomes of it.

Each tracker has a thread and a bounded queue of its own, so one that waits for a server holds up neither training nor
another tracker. What went wrong is reported between two events, by the thread that trains.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hvd_train.events import Observer, Observers

Event = tuple[str, tuple[Any, ...], dict[str, Any]]
"""The name of a method of a tracker, and its arguments."""

# Events that wait for one tracker, and how many of them may be events by step: those of an epoch matter more.
ROOM = 1000
ROOM_FOR_STEPS = 500
BY_STEP = ("on_steps", "on_learning_rate")
# Seconds that the end of a run waits for its trackers.
LIMIT_S = 10.0
# The same where a signal or a failure ends the run: a launcher kills a rank one second after its signal.
EARLY_LIMIT_S = 0.4


class Lane:
    """One tracker, its queue, and the thread that calls it."""

    def __init__(self, tracker: Observer) -> None:
        self.tracker = tracker
        self.name = type(tracker).__name__
        self.failure = ""
        self.num_lost = 0
        self._events: queue.Queue[Event | None] = queue.Queue()  # `put` bounds it
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            item: Event | None = self._events.get()
            if item is None:
                return
            event, arguments, named = item
            try:
                getattr(self.tracker, event)(*arguments, **named)
            except BaseException as error:  # sys.exit() in a tracker, too, ends the tracker alone
                self.failure = f"{self.name} failed in {event} ({type(error).__name__}: {error})."
                return

    def put(self, event: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Hand an event over, or lose it where the tracker is too far behind. Returns at once. One thread calls this."""
        if self._events.qsize() < (ROOM_FOR_STEPS if event in BY_STEP else ROOM):
            self._events.put((event, arguments, named))
        else:
            self.num_lost += 1

    def ask_to_end(self) -> None:
        """Have the tracker close after the events that wait. Returns at once."""
        self._events.put(("close", (), {}))
        self._events.put(None)

    def has_ended(self, until: float) -> bool:
        """Whether the tracker has closed or failed. Waits for it until this monotonic time."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()


class Trackers(Observers):
    """Passes each event to each tracker in the background. Root only.

    `notify` receives a sentence when a tracker fails, when it falls behind, and when the end of the run did not wait for
    it any longer; each once, in the thread that calls the events.
    """

    def on_preparation(self, done: int, total: int) -> None:
        """For a person who waits. It comes before the run has begun, so no tracker gets it."""

    def __init__(self, trackers: Sequence[Observer], notify: Callable[[str], None]) -> None:
        super().__init__()
        self._lanes = [Lane(tracker) for tracker in trackers]  # each calls its tracker in a thread
        self._notify = notify
        self._told_of_losses: set[str] = set()
        self._complete = False

    def _pass_on(self, event: str, *arguments: Any, **named: Any) -> None:
        for lane in self._lanes:
            lane.put(event, arguments, named)
        self._report()

    def _report(self) -> None:
        """Tell what has happened since the last event."""
        failed = [lane for lane in self._lanes if lane.failure]
        self._lanes = [lane for lane in self._lanes if not lane.failure]
        behind = [lane.name for lane in self._lanes if lane.num_lost and lane.name not in self._told_of_losses]
        self._told_of_losses.update(behind)
        for lane in failed:  # after the lists are changed: a message comes back here as an event
            self._notify(f"{lane.failure} The run goes on without it.")
        for name in behind:
            self._notify(f"{name} is slower than the training, so it misses some events. The run does not wait for it.")

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        super().on_start(config, dict(facts), run_dir)

    def on_resume(self, rows: Sequence[dict[str, float]], *, step: int, best_epoch: int) -> None:
        super().on_resume([dict(row) for row in rows], step=step, best_epoch=best_epoch)

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        super().on_epoch_end(dict(row), best=best)

    def on_end(self, report: Any) -> None:
        self._complete = True
        super().on_end(report)

    def close(self) -> None:
        """Wait for the trackers, 10 s at most after a complete run, and tell what is missing."""
        lanes, limit_s = list(self._lanes), LIMIT_S if self._complete else EARLY_LIMIT_S
        until = time.monotonic() + limit_s
        for lane in lanes:
            lane.ask_to_end()
        ended = [lane.has_ended(until) for lane in lanes]
        self._report()
        self._lanes = []
        for lane, has_ended in zip(lanes, ended, strict=True):
            if not has_ended:
                self._notify(
                    f"{lane.name} was not done {limit_s:g} s after the end, and the run does not wait longer: it lacks what "
                    f"came last. The files of the run are complete without it."
                )
