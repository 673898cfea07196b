"""What a run reports: an Observer receives its events, a Watch receives the position of each rank.

The console (`hvd_train.cli`), the trackers (`hvd_train.runs.trackers`) and a user's own listeners are Observers.
`hvd_train.watchdog` is the Watch of a job with several ranks. The base classes here do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Observer:
    """Receives the events of a run, on the root alone. Override what you need.

    No method may call a collective: the other ranks do not call it. Training waits for each method to return. An
    exception ends the run, unless `is_optional`.
    """

    is_optional = False
    """Whether the run goes on without this observer after it failed. The failure is reported once."""

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        """Before the first step. `config` is the RunConfig as nested dicts, with every automatic default resolved.

        `facts` describe the run in one line each: ranks, cores, versions, data, model, batch. `run_dir` exists.
        """

    def on_resume(self, rows: Sequence[dict[str, float]], *, step: int, best_epoch: int) -> None:
        """Right after `on_start`, where the run goes on from a checkpoint.

        `rows` are the rows of metrics.csv so far, one for each complete epoch. `step` is the number of steps that are done
        in the epoch after them. `best_epoch` is 0 where no epoch is complete.
        """

    def on_message(self, text: str) -> None:
        """A sentence for the user, for instance that the learning rate falls. Some come before `on_start`."""

    def on_preparation(self, done: int, total: int) -> None:
        """So many bytes of a table are converted, of so many. Comes before `on_start`, many times, or not at all."""

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        """Epochs count from 1."""

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        """Some steps of the epoch are done. `loss` is the mean over the rows of the root alone, for a progress bar."""

    def on_learning_rate(self, step: int, learning_rate: float) -> None:
        """The learning rate after this step of the epoch, about once a second."""

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        """`row` is a row of metrics.csv; `best` says that none before was better by --monitor, the validation loss by default."""

    def on_end(self, report: Any) -> None:
        """The run is complete. `report` is its `hvd_train.Report`."""

    def close(self) -> None:
        """Called last, also when the run fails or is stopped. Called once or more."""


class Observers(Observer):
    """Passes each event to several observers, in their order."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)

    def _pass_on(self, event: str, *arguments: Any, **named: Any) -> None:
        """What every event comes to."""
        failures = []
        for observer in list(self._observers):
            try:
                getattr(observer, event)(*arguments, **named)
            except Exception as error:
                if not observer.is_optional:
                    raise
                self._observers.remove(observer)
                failures.append(f"{type(observer).__name__} failed in {event} ({type(error).__name__}: {error}).")
        for failure in failures:
            self.on_message(f"{failure} The run goes on without it.")

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        self._pass_on("on_start", config, facts, run_dir)

    def on_resume(self, rows: Sequence[dict[str, float]], *, step: int, best_epoch: int) -> None:
        self._pass_on("on_resume", rows, step=step, best_epoch=best_epoch)

    def on_message(self, text: str) -> None:
        self._pass_on("on_message", text)

    def on_preparation(self, done: int, total: int) -> None:
        self._pass_on("on_preparation", done, total)

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        self._pass_on("on_epoch_begin", epoch, num_epochs, num_steps)

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        self._pass_on("on_steps", step, num_steps, samples_per_s, loss)

    def on_learning_rate(self, step: int, learning_rate: float) -> None:
        self._pass_on("on_learning_rate", step, learning_rate)

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        self._pass_on("on_epoch_end", row, best=best)

    def on_end(self, report: Any) -> None:
        self._pass_on("on_end", report)

    def close(self) -> None:
        self._pass_on("close")


class Notes(Observer):
    """Keeps the messages of a run."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


@dataclass(frozen=True, kw_only=True)
class RankState:
    """A rank as it last reported itself."""

    rank: int
    host: str
    phase: str
    """Where it is, in words."""
    step: int
    """Steps since the beginning of the run."""
    cpu_s: float
    """CPU time of its process since that began."""


class Watch:
    """Receives where this rank is. This base class watches nothing."""

    def phase(self, where: str, *, waits_for_others: bool) -> None:
        """Where this rank is, in words, and whether it then waits for the others. The cost is negligible."""

    def progress(self, step: int) -> None:
        """A step was finished; `step` counts from the beginning of the run."""

    def ranks(self) -> Sequence[RankState]:
        """On the root: how the ranks last reported themselves, about a second ago. Elsewhere, and without a watch: none."""
        return ()

    def close(self) -> None:
        """This rank has ended in good order."""
