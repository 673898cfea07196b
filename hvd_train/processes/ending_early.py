"""Why this process is to save and end before its work is done: a warning signal, a limit of time, or a stop that can wait.

Batch systems warn a job before they end it, by SIGUSR1, SIGUSR2 or SIGXCPU. Their default action would kill the process.
From `listen` on such a signal is only noted, and the loop of training acts on it between two steps. Signals belong to the
process, so there is one `EarlyEnd`, `early_end`.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from hvd_train.errors import ConfigError
from hvd_train.processes.signals import STOP_SIGNALS, StopHandler, Stopped
from hvd_train.text import seconds_of

WARNING_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
TIME_LIMIT = "--stop-after"
# What a reason can be. Where ranks have different ones, the first of this list holds: it leaves the least time.
REASONS = (*(number.name for number in STOP_SIGNALS), *(number.name for number in WARNING_SIGNALS), TIME_LIMIT)


class EarlyEnd:
    """Notes why this process is to end early. Its methods are for the main thread; `reason` and `warning` are for any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._signal = ""
        self._deadline: float | None = None
        self._listens = False
        self._stop: StopHandler | None = None

    @property
    def warning(self) -> str:
        """The warning signal that came, TIME_LIMIT where that is over, otherwise ""."""
        is_over = self._deadline is not None and self._clock() >= self._deadline
        return self._signal or (TIME_LIMIT if is_over else "")

    @property
    def reason(self) -> str:
        """One of REASONS, or "". A stop signal counts from its arrival on, also while it waits."""
        stopped = self._stop.stopped if self._stop is not None else None
        return str(stopped) if stopped is not None else self.warning

    def listen(self) -> None:
        """Note warning signals until the process ends. Call it as early as possible."""
        for number in WARNING_SIGNALS:
            self._handle(number)
        self._listens = True

    def stop_after(self, seconds: float, *, from_now: bool = False) -> None:
        """End early so many seconds after this module was loaded, which is about the start of the process, or from now."""
        self._deadline = (self._clock() if from_now else self._began) + seconds

    @contextlib.contextmanager
    def listening(self, stop: StopHandler) -> Iterator[None]:
        """Note warning signals in the block, and know the handler of stop signals. All is as before afterwards.

        A handler of the user's own stays. In another thread than the main one nothing is installed.
        """
        previous: dict[signal.Signals, Any] = {}
        if not self._listens and threading.current_thread() is threading.main_thread():
            for number in WARNING_SIGNALS:
                if signal.getsignal(number) is signal.SIG_DFL:
                    previous[number] = signal.SIG_DFL
                    self._handle(number)
        outer, self._stop = self._stop, stop
        try:
            yield
        finally:
            self._stop = outer
            for restored, handler in previous.items():
                signal.signal(restored, handler)
            if not self._listens:
                self._signal, self._deadline = "", None

    def let_stops_wait(self) -> None:
        """From now on SIGINT and SIGTERM do not interrupt the main thread. It looks at `reason` and raises `Stopped` itself.

        The handler still ends the process when the time that a stop leaves is over.
        """
        if self._stop is not None:
            self._stop.waits = True

    def let_stops_wait_for(self, expected_s: float) -> None:
        """`let_stops_wait` for work of so many seconds (nan: unknown), and `let_stops_interrupt` if a stop leaves no time for it."""
        grace_s = self._stop.grace_s if self._stop is not None else None
        if grace_s is not None and expected_s > grace_s / 3:
            self.let_stops_interrupt()
        else:
            self.let_stops_wait()

    def let_stops_interrupt(self) -> None:
        """Undo `let_stops_wait`. Raises `Stopped` if a signal came meanwhile."""
        if self._stop is not None:
            self._stop.waits = False
            if self._stop.stopped is not None:
                raise self._stop.stopped

    def _handle(self, number: signal.Signals) -> None:
        signal.signal(number, self._note)
        # Training goes on after it, so no call of MPI or of a file system may fail with EINTR.
        signal.siginterrupt(number, False)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number).name


early_end = EarlyEnd()


def stop_on(signals: Sequence[int] = WARNING_SIGNALS) -> None:
    """From now on these signals raise `Stopped`: for a program that has nothing to save, so that it ends with a message."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    for number in signals:
        signal.signal(number, stop)


def time_limit(given: str | float, flag: str) -> float:
    """The seconds of "H:MM", "H:MM:SS" or a number of seconds, or ConfigError, which names `flag`."""
    seconds = seconds_of(given) if isinstance(given, str) else given
    if not seconds or not 0 < seconds < math.inf:
        raise ConfigError(
            f"{flag} {given} is not possible: write hours and minutes as H:MM, or H:MM:SS, such as 1:30 for 90 minutes."
        )
    return seconds
