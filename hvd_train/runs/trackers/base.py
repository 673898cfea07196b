"""The base classes of trackers: one that hears every event, and one for dashboards of scalars and pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hvd_train.events import Observer

Axis = Literal["epoch", "step"]
# In front of the names of scalars by step, whose axis is another one than that of the epochs.
BY_STEP = "by_step/"
# The loss between two epochs is that of one rank: nothing is exchanged for a tracker.
STEP_LOSS = BY_STEP + "loss_on_rank_0"


class Tracker(Observer):
    """Sends what happens in a run to a place where it can be looked at, such as TensorBoard.

    A tracker is an Observer on the root: override the events that you need. It is made without arguments before
    training begins, so open files and connections in `on_start`, and close them in `close`.

        class Printer(Tracker):
            def on_epoch_end(self, row, *, best):
                print(row["epoch"], row["val_loss"])

    Three rules:

    - It never calls a collective. The other ranks have no tracker.
    - When it raises an exception, the run reports it once and goes on without the tracker. `close` is not called then.
    - Its events come in a thread of its own, in their order. Training waits for none of them. A tracker that falls
      behind misses some events by step, and the end of the run waits a limited time for it.
    """

    is_optional = True


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a dashboard learns when a run begins, or goes on."""

    run_dir: Path
    """The absolute path of the run directory. It exists."""
    parameters: Mapping[str, bool | int | float | str]
    """Every setting, as {"training.num_epochs": 30}."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Lines that describe the run: ranks, cores, versions, data, model."""


class ScalarTracker(Tracker):
    """A dashboard of hyper-parameters, scalars and pictures. Each built-in tracker overrides its four methods.

    Scalars by epoch have the names of metrics.csv and are numbers over all ranks. Those by step have names that begin
    with `by_step/`, and their axis counts the steps from the beginning of the run. Both axes go on after a resume.
    """

    def begin(self, beginning: Beginning) -> None:
        """Open the place that this run is sent to, the one of before where the run goes on."""

    def scalars(self, values: dict[str, float], *, step: int, axis: Axis) -> None:
        """Send some numbers. `step` is a number of epochs or of steps from the beginning of the run, as `axis` says."""

    def picture(self, name: str, path: Path, *, step: int) -> None:
        """Send a PNG file. `step` counts epochs."""

    def end(self, *, complete: bool) -> None:
        """Close the place. `complete` is false where the run failed, or was stopped and may go on later."""

    def __init__(self) -> None:
        self._is_open = False
        self._steps_before = 0  # of the epochs before this one

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        self._run_dir = run_dir.absolute()
        self.begin(Beginning(run_dir=self._run_dir, parameters=flat(config), facts=facts))
        self._is_open = True

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        self._steps_before = (epoch - 1) * num_steps

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        rate = {BY_STEP + "samples_per_s": samples_per_s} if samples_per_s == samples_per_s else {}
        self.scalars({STEP_LOSS: loss} | rate, step=self._steps_before + step, axis="step")

    def on_learning_rate(self, step: int, learning_rate: float) -> None:
        self.scalars({BY_STEP + "learning_rate": learning_rate}, step=self._steps_before + step, axis="step")

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        scalars = {name: float(value) for name, value in row.items() if name != "epoch"}
        self.scalars(scalars, step=int(row["epoch"]), axis="epoch")

    def on_end(self, report: Any) -> None:
        final = {
            f"{split}/{name}": value for split, metrics in report.metrics.items() for name, value in metrics.items()
        }
        try:
            if final:
                self.scalars(final, step=report.best_epoch, axis="epoch")
            for path in sorted(self._run_dir.glob("*.png")):
                self.picture(path.stem, path, step=report.epochs)
        finally:  # what fails above must not leave a run that seems to go on
            self._end(complete=True)

    def close(self) -> None:
        self._end(complete=False)

    def _end(self, *, complete: bool) -> None:
        if self._is_open:
            self._is_open = False
            self.end(complete=complete)


class Interval:
    """Whether at least `seconds` have passed since it last said so."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._since = seconds, time.monotonic()

    def is_over(self) -> bool:
        now = time.monotonic()
        if now - self._since < self._seconds:
            return False
        self._since = now
        return True


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings under names with dots. What is neither number nor text becomes text.

    >>> flat({"training": {"num_epochs": 30, "trackers": ("csv",), "local_batch_size": None}, "seed": 1})
    {'training.num_epochs': 30, 'training.trackers': 'csv', 'training.local_batch_size': 'none', 'seed': 1}
    """
    settings: dict[str, bool | int | float | str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            settings |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            settings[prefix + key] = value
        elif isinstance(value, list | tuple):
            settings[prefix + key] = ", ".join(map(str, value))
        else:
            settings[prefix + key] = "none" if value is None else str(value)
    return settings
