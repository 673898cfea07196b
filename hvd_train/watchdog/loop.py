"""What the two loops of the watchdog share: a thread that beats, reads, judges, and obeys the main thread.

It wakes once per beat, or when something arrives. It never waits for a peer, because a frozen peer would freeze it.
`root.py` and `member.py` have the loop of the root and that of the other ranks.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Literal, Protocol

from hvd_train.watchdog.rules import LONGEST_ERROR, AwakeClock, Beat, Judge, Limits, Verdict
from hvd_train.watchdog.wire import Message

# Seconds that a last word may take to leave.
FAREWELL_S = 1.0

How = Literal["finished", "stopping", "failed"]


class Station(Protocol):
    """What a loop needs of the `Watchdog` it works for."""

    limits: Limits
    rank: int
    size: int
    host: str

    def beat(self) -> Beat: ...
    def cause(self) -> str: ...
    def report(self, verdict: Verdict) -> None: ...
    def doomed(self) -> None: ...
    def will_end(self, within_s: float = 0.0) -> None: ...
    def warn(self, message: str) -> None: ...


class Loop(threading.Thread):
    """What both loops share: the beat, the clock, and orders from the main thread."""

    def __init__(self, station: Station) -> None:
        super().__init__(name="hvd_train watchdog", daemon=True)
        self.station = station
        self.limits = station.limits
        self.clock = AwakeClock(self.limits.interval_s)
        self.judge = Judge(self.limits, station.size, cause=station.cause)
        self._orders: list[tuple[How, str]] = []
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._judging = True
        self._ended = False

    def order(self, how: How, error: str = "") -> None:
        """Say to the others that this rank is done, stopping, or has failed. Safe from any thread."""
        self._orders.append((how, error))
        with contextlib.suppress(OSError):  # the loop has ended
            self._ringer.send(b"!")

    def run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._bell, selectors.EVENT_READ)
                self.open(selector)
                self._turn(selector)
        except Exception as error:
            # The watch must never be the reason why training fails.
            # Nor must its end look like a death.
            with contextlib.suppress(Exception):
                self.bid_farewell({"left": "finished", "error": ""})
            self.station.warn(f"the watchdog of rank {self.station.rank} stopped: {type(error).__name__}: {error}")
        finally:
            self.shut()
            self._bell.close()
            self._ringer.close()

    def _turn(self, selector: selectors.BaseSelector) -> None:
        next_beat = 0.0
        while not self._ended:
            selector.select(max(0.0, next_beat - time.monotonic()))
            self._tick()
            self.read(selector)
            # Again: this process may have been stopped since, and what was read tell of what happened meanwhile.
            self._tick()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + self.limits.interval_s
                self.say(self.station.beat())
            self._obey()
            verdict = self.judge.verdict(self.clock.now) if self._judging and not self._ended else None
            if verdict is not None:
                self._judging = False
                self.tell(verdict)

    def _tick(self) -> None:
        if self.clock.tick():
            self.judge.woke(self.clock.now)

    def _obey(self) -> None:
        """What has arrived was read before: a rank that died first is judged although mpirun now stops this one."""
        try:
            self._bell.recv(64)
        except BlockingIOError:
            return
        while self._orders:
            how, error = self._orders[0]
            if self._judging and (verdict := self.judge.verdict(self.clock.now)) is not None:
                self._judging = False
                self.tell(verdict)
            self._judging = False
            self.bid_farewell({"left": how, "error": error[:LONGEST_ERROR]})
            self._ended = self._ended or how == "finished"
            self._orders.pop(0)

    def open(self, selector: selectors.BaseSelector) -> None: ...
    def read(self, selector: selectors.BaseSelector) -> None: ...
    def say(self, beat: Beat) -> None: ...
    def tell(self, verdict: Verdict) -> None: ...
    def bid_farewell(self, message: Message) -> None: ...
    def shut(self) -> None: ...
