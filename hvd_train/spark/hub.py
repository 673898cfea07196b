"""The driver's end of the connections: who has come, what the ranks write, how each ended."""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hvd_train.spark.places import Arrival, Place

TAIL = 60
LOST = -1000
"""The code of a rank whose task is gone without a word."""
HELLO_S = 20.0


@dataclass(eq=False)
class Member:
    """A task that has come."""

    arrival: Arrival
    connection: Any
    place: Place | None = None
    pid: int | None = None
    unseen: str = ""
    """A path that this host does not have."""
    was_asked: bool = False
    """Whether it was asked to end: then its end is no failure of its own."""
    code: int | None = None
    ended: float = 0.0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class Hub:
    """Listens until it is closed."""

    def __init__(self, host: str, tell: Callable[[str, bool], None]) -> None:
        self.token = secrets.token_hex(16)
        self._server = socket.create_server(("", 0))
        self.address = (host, int(self._server.getsockname()[1]))
        self._tell = tell
        self.members: dict[int, Member] = {}
        self.changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._accept, name="hvd_train hub", daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        member: Member | None = None
        with (
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
            connection,
            connection.makefile("r", encoding="utf-8") as reader,
        ):
            connection.settimeout(HELLO_S)
            hello = json.loads(reader.readline(1 << 16))
            if not hmac.compare_digest(str(hello["token"]), self.token):
                return
            connection.settimeout(None)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            arrival = Arrival(**{name: hello[name] for name in ("task", "host", "ip", "port", "interface", "facts")})
            with self.changed:
                if self._closed or arrival.task in self.members:
                    return  # a second attempt of Spark, after the job has failed
                member = self.members[arrival.task] = Member(arrival, connection)
                self.changed.notify_all()
            for text in reader:
                self._hear(member, json.loads(text))
        if member is not None and member.code is None:
            self._end(member, LOST)

    def _hear(self, member: Member, said: dict[str, Any]) -> None:
        if "pid" in said:
            member.pid = int(said["pid"])
        elif "unseen" in said:
            member.unseen = str(said["unseen"])
        elif "exit" in said:
            self._end(member, int(said["exit"]))
            self._send(member, {"heard": True})
        else:
            kind = "err" if "err" in said else "out"
            text = str(said.get(kind, ""))
            member.tail.append(text)
            self._tell(text, kind == "err")

    def _end(self, member: Member, code: int) -> None:
        with self.changed:
            member.code, member.ended = code, time.monotonic()
            self.changed.notify_all()

    def _send(self, member: Member, document: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            member.connection.sendall(json.dumps(document).encode() + b"\n")

    def start(self, member: Member, order: dict[str, Any]) -> None:
        self._send(member, {"start": order})

    def stop(self) -> None:
        """Ask every rank that runs to end."""
        for member in list(self.members.values()):
            if member.code is None:
                member.was_asked = True
                self._send(member, {"stop": True})

    def wait(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until the condition holds, or so long; in slices, so that Ctrl-C comes through."""
        deadline = time.monotonic() + limit_s
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(min(left, 0.2))
        return True

    def running(self) -> list[Member]:
        return [member for member in self.members.values() if member.code is None]

    def close(self) -> None:
        """Close every connection: a rank that still runs is ended by its task."""
        with self.changed:
            self._closed = True
        self._server.close()
        for member in self.members.values():
            with contextlib.suppress(OSError):
                member.connection.shutdown(socket.SHUT_RDWR)
