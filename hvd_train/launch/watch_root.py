"""The root's loop of the watchdog: listens to every member, and judges them and itself."""

from __future__ import annotations

import selectors
import socket
import time

from hvd_train.launch.watch_loop import FAREWELL_S, Loop, Station
from hvd_train.launch.watch_rules import Beat, Verdict
from hvd_train.launch.watch_wire import Address, Message, Wire, same

# A stranger has this long to prove itself, and there are never more of them than this.
STRANGER_S = 5.0
MOST_STRANGERS = 64


class RootLoop(Loop):
    """Rank 0's thread."""

    def __init__(self, station: Station, listener: socket.socket, address: Address) -> None:
        super().__init__(station)
        self._listener, self._address = listener, address
        self._members: dict[int, Wire] = {}
        self._strangers: dict[Wire, float] = {}

    def open(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._listener, selectors.EVENT_READ)

    def read(self, selector: selectors.BaseSelector) -> None:
        self._accept(selector)
        for wire, since in list(self._strangers.items()):
            self._recognize(selector, wire, since)
        for rank, wire in list(self._members.items()):
            for message in wire.receive():
                self._hear(rank, wire, message)
            if wire.closed:
                self.judge.lost(rank)
                del self._members[rank]
                self._drop(selector, wire)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        while len(self._strangers) < MOST_STRANGERS:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # nobody else waits
                return
            wire = Wire(connection)
            self._strangers[wire] = time.monotonic()
            selector.register(wire, selectors.EVENT_READ)

    def _recognize(self, selector: selectors.BaseSelector, wire: Wire, since: float) -> None:
        messages = wire.receive()
        hello = messages[0] if messages else {}
        rank = hello.get("rank")
        if same(hello.get("token"), self._address["token"]) and isinstance(rank, int) and 0 < rank < self.station.size:
            del self._strangers[wire]
            if rank in self._members:  # it lost its first connection and came again
                self._drop(selector, self._members[rank])
            self._members[rank] = wire
            wire.unread(messages[1:])
            wire.send({"answer": self._address["answer"]})
            # Known from now on, should it die before its first beat.
            self.judge.heard(rank, Beat(host=str(hello.get("host", "?"))), self.clock.now)
        elif messages or wire.closed or time.monotonic() - since > STRANGER_S:
            del self._strangers[wire]
            self._drop(selector, wire)

    def _hear(self, rank: int, wire: Wire, message: Message) -> None:
        how = message.get("left")
        if how in ("finished", "stopping", "failed"):
            self.judge.left(rank, how, self.clock.now, str(message.get("error", "")))
            return
        try:
            self.judge.heard(rank, Beat.from_message(message), self.clock.now)
        except ValueError:
            wire.closed = True

    def _drop(self, selector: selectors.BaseSelector, wire: Wire) -> None:
        selector.unregister(wire)
        wire.close()

    def say(self, beat: Beat) -> None:
        self.judge.heard(0, beat, self.clock.now)
        for wire in self._members.values():
            wire.send(beat.to_message())

    def tell(self, verdict: Verdict) -> None:
        for wire in self._members.values():
            wire.send({"verdict": verdict.kind})
        self.station.report(verdict)

    def bid_farewell(self, message: Message) -> None:
        for wire in self._members.values():
            wire.send(message)

    def shut(self) -> None:
        self._listener.close()
        for wire in [*self._members.values(), *self._strangers]:
            wire.close(FAREWELL_S if self._ended else 0.0)
