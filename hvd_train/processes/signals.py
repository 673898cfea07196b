"""Stop on SIGINT and SIGTERM, also while the main thread sits in a collective.

Python runs a signal handler when the main thread returns to Python. In a collective that never ends, it never returns.
The handler in C writes to the wake-up descriptor at once, and a thread of ours reads that. So `Stopped` is raised in the
main thread if it returns to Python. If it does not, the thread ends the process after a moment, with a message.

    with stop_handler(lambda: f"stopped; the last checkpoint is {path}", on_signal=lambda number: watchdog.stopping()) as stop:
        try:
            train()
        except Stopped:
            stop.release()      # the main thread is here and ends in its own time

On Ctrl-C mpirun (Open MPI 4.1) sends SIGTERM to every rank and SIGKILL one second later. The moment is shorter.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from hvd_train.processes.ending import end_process

# Between mpirun's SIGTERM and its SIGKILL lies one second (odls_base_sigkill_timeout).
GRACE_S = 0.7
# Where no launcher ends this process, it may take so long to save.
ALONE_GRACE_S = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A signal that raised nothing in the main thread comes once more, after a moment that grows from the first to the second.
AGAIN_S, LONGEST_AGAIN_S = 0.005, 0.25
PYTHON_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


def name_of(number: int) -> str:
    """The name of a signal, also of one that has none.

    >>> name_of(9), name_of(40)
    ('SIGKILL', 'signal 40')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Stopped(KeyboardInterrupt):
    """A signal stopped the program. No `except Exception` catches it. `exit_code` is that of a shell for this signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.saved = ""
        """What was saved before the end, in words, where there was time for it."""
        self.exit_code = 128 + number


class StopHandler:
    """Made by `install_stop_handler`."""

    def __init__(
        self,
        message: Callable[[], str],
        grace_s: float | None,
        on_signal: Callable[[int], None] | None,
        signals: Sequence[int],
    ) -> None:
        self._message, self._grace_s, self._on_signal = message, grace_s, on_signal
        self._released = False
        self._owed = False  # a signal that came where nothing can be raised
        self._is_resent = False
        self._resending = threading.Lock()
        self.waits = False
        """Whether a signal does not interrupt the main thread, which looks at `stopped` by itself."""
        self.stopped: Stopped | None = None
        """What is raised in the main thread, once a signal has come. A library that it interrupts may make another
        exception of it (pybind11 makes a RuntimeError), so ask here and not by the type alone."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self._reader, False)
        self._previous_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._previous: dict[int, Any] = {number: signal.signal(number, self._raise) for number in signals}
        self._thread = threading.Thread(target=self._listen, name="hvd_train stop", daemon=True)
        self._thread.start()

    @property
    def grace_s(self) -> float | None:
        """Seconds from a stop to the end of the process by force; None without a limit."""
        return self._grace_s

    def release(self) -> None:
        """The main thread handles `Stopped`, so the process is not ended by force. The same signal again still ends it."""
        self._released = True

    def uninstall(self) -> None:
        """Restore the previous handlers. Main thread only."""
        if self._writer < 0:
            return
        with self._resending:
            self._released = True
        for number, previous in self._previous.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self._writer)  # the thread reads the end and leaves
        self._writer = -1
        self._thread.join(1.0)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self.stopped is not None and not self._owed:
            return
        self.stopped = self.stopped or Stopped(number)
        self._owed = not self.waits and _ignores_exceptions(frame)
        if not self._owed and not self.waits:
            raise self.stopped

    def _listen(self) -> None:
        first, until, again_s = 0, math.inf, AGAIN_S
        while True:
            # Wait without a limit for the first signal, and after it for the time that the main thread has.
            remaining = math.inf if self._released else max(0.0, until - time.monotonic())
            if remaining == 0:
                self._end(first)
            pause = min(remaining, again_s if first and self._is_unheard() else math.inf)
            if not select.select([self._reader], [], [], None if pause == math.inf else pause)[0]:
                if first and self._is_unheard():
                    self._resend(first)
                    again_s = min(2 * again_s, LONGEST_AGAIN_S)
                continue
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._reader, 256)
                if not data:
                    os.close(self._reader)
                    return
                for number in data:
                    if number not in self._previous:
                        continue  # another signal with a handler of Python's
                    if number == first and self._is_resent:
                        self._is_resent = False
                    elif number == first:
                        self._end(first)
                    elif not first:
                        first = number
                        if self._grace_s is not None:
                            until = time.monotonic() + self._grace_s
                        self._tell(number)

    def _is_unheard(self) -> bool:
        """Whether the main thread must still raise: it was where nothing can be raised, or no handler of Python's ran.

        The latter is so in C code, and where the signal came to another thread or in the moment before a sleep, which then
        nothing interrupts.
        """
        return not self._released and not self._is_resent and (self.stopped is None or self._owed)

    def _resend(self, number: int) -> None:
        with self._resending:
            if not self._released:
                self._is_resent = True  # it comes to the thread that listens, too
                # A true signal, which ends a sleep of the main thread.
                signal.pthread_kill(threading.main_thread().ident or 0, number)

    def _tell(self, number: int) -> None:
        if self._on_signal is not None:
            # In a thread of its own, so that nothing it waits for keeps this one from ending the process.
            threading.Thread(target=self._on_signal, args=(number,), daemon=True).start()

    def _end(self, number: int) -> None:
        try:
            message = self._message()
        except Exception as error:
            message = f"stopped by {signal.Signals(number).name} ({error})"
        end_process(message, 128 + number)


def _ignores_exceptions(frame: FrameType | None) -> bool:
    """Whether Python prints and forgets what is raised here: in `__del__`, or in the callback of a weak reference."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """In the block no signal's handler runs; those of the signals that came run at its end, once each.

    For starting a process: an exception between its start and the note of its id would leave it behind. Outside the main
    thread, where handlers never run, it does nothing.
    """
    came: list[int] = []
    previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in PYTHON_SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    previous[number] = handler
                    signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for handled, handler in previous.items():
            signal.signal(handled, handler)
    # Called, not raised again: who reads the wake-up descriptor has seen them, and would take them for second ones.
    for signalled in dict.fromkeys(came):
        previous[signalled](signalled, None)


class NoStopHandler(StopHandler):
    """Handles no signal: for a thread that may not."""

    def __init__(self) -> None:
        self.waits, self.stopped, self._grace_s = False, None, None

    def release(self) -> None: ...

    def uninstall(self) -> None: ...


def install_stop_handler(
    message: Callable[[], str],
    *,
    grace_s: float | None = GRACE_S,
    on_signal: Callable[[int], None] | None = None,
    signals: Sequence[int] = STOP_SIGNALS,
) -> StopHandler:
    """From now on a signal raises `Stopped` in the main thread, once.

    If that has not called `release` or `uninstall` within `grace_s` seconds (None: without a limit), or when the same signal comes again, the
    process writes `message()` and exits with 128 + the signal's number. (Another signal after the first is not counted:
    on Ctrl-C a rank gets SIGINT from the terminal and then SIGTERM from mpirun.) `on_signal` is called at once, in a thread of its own, with the number.
    Any rank, main thread only (ValueError elsewhere).
    """
    return StopHandler(message, grace_s, on_signal, signals)


@contextlib.contextmanager
def stop_handler(
    message: Callable[[], str],
    *,
    grace_s: float | None = GRACE_S,
    on_signal: Callable[[int], None] | None = None,
    signals: Sequence[int] = STOP_SIGNALS,
) -> Iterator[StopHandler]:
    """`install_stop_handler` for a block. Outside the main thread, which alone may handle signals, nothing is installed."""
    if threading.current_thread() is not threading.main_thread():
        yield NoStopHandler()
        return
    handler = install_stop_handler(message, grace_s=grace_s, on_signal=on_signal, signals=signals)
    try:
        yield handler
    finally:
        handler.uninstall()
