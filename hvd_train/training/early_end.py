"""Ends training early, between two steps: after a warning signal, after --stop-after, and on a stop that leaves the time.

All ranks agree on the step, everything is saved, and each rank raises the same exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from hvd_train.distributed import Agreement, World
from hvd_train.errors import ToBeContinued
from hvd_train.processes import STOP_SIGNALS, TIME_LIMIT, Stopped, early_end

if TYPE_CHECKING:
    from hvd_train.training.loop import TrainingLoop

NOTHING_TO_SAVE = "Nothing had to be saved. Start again with the same command."
_STOPS = {number.name: number for number in STOP_SIGNALS}


def end_before_training(world: World, how_to_go_on: str) -> None:
    """ToBeContinued on every rank if one was warned before the first step of this session. All ranks."""
    if reason := Agreement(world).reason(early_end.warning):
        raise before_training(reason, how_to_go_on)


def before_training(reason: str, how_to_go_on: str) -> ToBeContinued:
    """The error of a run that ends before the first step of this session."""
    return ToBeContinued(f"{because(reason)} before the first step.", how_to_go_on)


def because(reason: str) -> str:
    """The beginning of a sentence about the end."""
    return "stopped by --stop-after" if reason == TIME_LIMIT else f"stopped by {reason}"


class EarlyEnding(keras.callbacks.Callback):  # type: ignore[misc]
    """Asks the other ranks between two steps, and ends training. All ranks; the last of the callbacks.

    The callbacks of the user have then seen all steps that are saved.
    """

    def __init__(self, loop: TrainingLoop, agreement: Agreement, how_to_go_on: Any) -> None:
        super().__init__()
        self._loop, self._agreement, self._how_to_go_on = loop, agreement, how_to_go_on

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._end_if_agreed(always=True)
        early_end.let_stops_wait()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._agreement.executed()
        if self._loop.is_savable:
            self._end_if_agreed()

    def on_train_end(self, logs: Any = None) -> None:
        # Not before: a stop would lose the steps of an epoch that nothing has saved yet.
        early_end.let_stops_interrupt()

    def _end_if_agreed(self, *, always: bool = False) -> None:
        loop, agreement = self._loop, self._agreement
        if agreement.is_due(always=always):
            loop.watch.phase(f"{loop.place}, agreeing with the others", waits_for_others=True)
        reason = agreement.reason(early_end.reason, always=always)
        if not reason:
            return
        if loop.world.is_root:
            loop.observer.on_message(f"{reason} came: the run ends {loop.place}, and goes on from there later.")
        loop.save_to_continue()
        if reason in _STOPS:
            stopped = Stopped(_STOPS[reason])
            stopped.saved = f"saved {loop.place}"
            raise stopped
        if not loop.step and not loop.state.epoch:
            raise before_training(reason, NOTHING_TO_SAVE)
        raise ToBeContinued(f"{because(reason)}, saved {loop.place}.", self._how_to_go_on())
