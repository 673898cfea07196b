"""The root's loop of the watchdog: listens to every member, and judges them and itself."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass

from hvd_train.watchdog.loop import FAREWELL_S, Loop, Station
from hvd_train.watchdog.proof import LONGEST_HOST, Hello, cleaned, new_challenge
from hvd_train.watchdog.rules import LONGEST_ERROR, Beat, Verdict
from hvd_train.watchdog.wire import Address, Message, Wire

# A stranger has this long to prove itself, and there are never more of them than this.
STRANGER_S = 5.0
MOST_STRANGERS = 64


@dataclass
class Stranger:
    """A connection that has not proved itself yet: since when, and what it was asked."""

    since: float
    challenge: str


class RootLoop(Loop):
    """Rank 0's thread."""

    def __init__(self, station: Station, listener: socket.socket, address: Address) -> None:
        super().__init__(station)
        self._listener, self._address = listener, address
        self._members: dict[int, Wire] = {}
        self._strangers: dict[Wire, Stranger] = {}
        self._listens = False
        self._cannot_accept = False

    def open(self, selector: selectors.BaseSelector) -> None:
        self._listen(selector)

    def read(self, selector: selectors.BaseSelector) -> None:
        self._accept(selector)
        for wire, stranger in list(self._strangers.items()):
            self._recognize(selector, wire, stranger)
        for rank, wire in list(self._members.items()):
            for message in wire.receive():
                self._hear(rank, wire, message)
            if wire.closed:
                self.judge.lost(rank)
                del self._members[rank]
                self._drop(selector, wire)
        self._listen(selector)

    def _listen(self, selector: selectors.BaseSelector) -> None:
        """Let `select` wake for a new connection exactly where it can be taken, or the loop would never sleep."""
        wanted = len(self._strangers) < MOST_STRANGERS and not self._cannot_accept
        if wanted and not self._listens:
            selector.register(self._listener, selectors.EVENT_READ)
        elif self._listens and not wanted:
            selector.unregister(self._listener)
        self._listens = wanted

    def _accept(self, selector: selectors.BaseSelector) -> None:
        while self._listens and len(self._strangers) < MOST_STRANGERS:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):  # nobody waits, or one has gone again
                return
            except OSError:  # no file descriptor is free, for example: try again with the next beat
                self._cannot_accept = True
                return
            wire, stranger = Wire(connection), Stranger(time.monotonic(), new_challenge())
            self._strangers[wire] = stranger
            selector.register(wire, selectors.EVENT_READ)
            wire.send({"challenge": stranger.challenge})

    def _recognize(self, selector: selectors.BaseSelector, wire: Wire, stranger: Stranger) -> None:
        messages = wire.receive()
        secret, size = self._address["secret"], self.station.size
        hello = Hello.from_message(messages[0], stranger.challenge, secret, size=size) if messages else None
        if hello is not None:
            del self._strangers[wire]
            if hello.rank in self._members:  # it lost its first connection and came again
                self._drop(selector, self._members[hello.rank])
            self._members[hello.rank] = wire
            wire.unread(messages[1:])
            wire.send(hello.answer(secret))
            # Known from now on, should it die before its first beat.
            self.judge.heard(hello.rank, Beat(host=cleaned(hello.host, LONGEST_HOST)), self.clock.now)
        elif messages or wire.closed or time.monotonic() - stranger.since > STRANGER_S:
            del self._strangers[wire]
            self._drop(selector, wire)

    def _hear(self, rank: int, wire: Wire, message: Message) -> None:
        how = message.get("left")
        if how in ("finished", "stopping", "failed"):
            self.judge.left(rank, how, self.clock.now, cleaned(str(message.get("error", "")), LONGEST_ERROR))
            return
        try:
            self.judge.heard(rank, Beat.from_message(message), self.clock.now)
        except ValueError:
            wire.closed = True

    def _drop(self, selector: selectors.BaseSelector, wire: Wire) -> None:
        selector.unregister(wire)
        wire.close()

    def say(self, beat: Beat) -> None:
        self._cannot_accept = False
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
