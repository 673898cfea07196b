"""A member's loop of the watchdog: tells the root where this rank is, and judges the root."""

from __future__ import annotations

import dataclasses
import selectors
import time

from hvd_train.watchdog.loop import FAREWELL_S, Loop, Station
from hvd_train.watchdog.proof import cleaned
from hvd_train.watchdog.rules import LONGEST_ERROR, Beat, Judge, Verdict
from hvd_train.watchdog.wire import Address, Message, Wire, connect

# Members tell of a lost root one after the other: the lowest living rank is heard, and before the next one would speak
# the launcher has ended it (mpirun takes two seconds from the first death to the last SIGKILL).
STAGGER_S, LONGEST_STAGGER_S = 3.0, 9.0


class MemberLoop(Loop):
    """The thread of any rank but 0."""

    def __init__(self, station: Station, address: Address) -> None:
        super().__init__(station)
        # Who lags is for the root to say, which knows them all.
        self.judge = Judge(dataclasses.replace(self.limits, stall_s=0), size=1, cause=station.cause)
        self._address = address
        self._root: Wire | None = None
        self._lost = False

    def open(self, selector: selectors.BaseSelector) -> None:
        rank, host = self.station.rank, self.station.host
        try:
            self._root = connect(
                self._address, rank=rank, host=host, timeout_s=self.limits.connect_s, give_up=lambda: bool(self._orders)
            )
        except OSError as error:
            self._ended = True
            if self._orders:
                return  # the run is over already
            self.station.warn(
                f"rank {rank} on host {host} cannot reach the watchdog of rank 0 on host {self._address['host']} ({error}). "
                "Training goes on without a watch over this rank; open the network between the hosts for all TCP ports."
            )
            return
        self.clock.tick()
        self.judge.heard(0, Beat(host=self._address["host"]), self.clock.now)
        selector.register(self._root, selectors.EVENT_READ)

    def read(self, selector: selectors.BaseSelector) -> None:
        assert self._root is not None
        for message in self._root.receive():
            how = message.get("left")
            if "verdict" in message:
                self._judging = False
                self.station.doomed()
            elif how in ("finished", "stopping", "failed"):
                self.judge.left(0, how, self.clock.now, cleaned(str(message.get("error", "")), LONGEST_ERROR))
            else:
                self.judge.heard(0, Beat.from_message(message), self.clock.now)
        if self._root.closed and not self._lost:
            self._lost = True
            self.judge.lost(0)
            selector.unregister(self._root)

    def say(self, beat: Beat) -> None:
        assert self._root is not None
        self._root.send(beat.to_message())

    def tell(self, verdict: Verdict) -> None:
        self.station.will_end(within_s=LONGEST_STAGGER_S)
        speaks_at = time.monotonic() + min((self.station.rank - 1) * STAGGER_S, LONGEST_STAGGER_S)
        while time.monotonic() < speaks_at:
            if self._orders:
                return  # the launcher is ending this rank already
            time.sleep(0.05)
        self.station.report(verdict)

    def bid_farewell(self, message: Message) -> None:
        if self._root is not None:
            self._root.send(message)

    def shut(self) -> None:
        if self._root is not None:
            self._root.close(FAREWELL_S if self._ended else 0.0)
