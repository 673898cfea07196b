"""The watchdog's wire: JSON objects, one a line, over TCP, and how the root is found.

Nothing in here blocks but `connect`. A peer that sends nonsense, or a line longer than LONGEST_LINE, is cut off. How both
sides prove themselves is in `watch_proof`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from hvd_train.watchdog.proof import Hello, is_answer

LONGEST_LINE = 4096
# Bytes waiting for a peer that does not read; beats beyond are dropped, the peer being frozen anyway.
MOST_PENDING = 65_536
# What the root hands to the members: its port, addresses, host and the secret of this job.
Address = dict[str, Any]
Message = dict[str, Any]
SIOCGIFADDR = 0x8915
LOOPBACK = "127.0.0.1"


class Wire:
    """One end of a connection. `closed` is True when the other end is gone; what it sent before can still be read."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._incoming, self._outgoing = b"", b""
        self._unread: list[Message] = []
        self.closed = False

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Send as much as the peer takes now; the rest goes with the next call."""
        if len(self._outgoing) < MOST_PENDING:
            self._outgoing += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> bool:
        """True when nothing waits any more."""
        try:
            while self._outgoing and not self.closed:
                self._outgoing = self._outgoing[self._connection.send(self._outgoing) :]
        except BlockingIOError:
            return False
        except OSError:
            # Not `closed` yet: what the peer said last may still be waiting to be read.
            self._outgoing = b""
        return True

    def receive(self) -> list[Message]:
        """Everything that has arrived whole."""
        try:
            while not self.closed and len(self._incoming) <= 16 * LONGEST_LINE:
                data = self._connection.recv(65_536)
                self._incoming += data
                self.closed = not data
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        *lines, self._incoming = self._incoming.split(b"\n")
        messages, self._unread = self._unread, []
        for line in lines:
            try:
                messages.append(_parse(line))
            except ValueError:
                self.closed = True
                break
        if len(self._incoming) > LONGEST_LINE:
            self.closed = True
        return messages

    def unread(self, messages: list[Message]) -> None:
        """Give messages back, to be received again."""
        self._unread = messages + self._unread

    def close(self, linger_s: float = 0.0) -> None:
        """Close; before that give what is waiting up to `linger_s` to leave."""
        deadline = time.monotonic() + linger_s
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(OSError):
            self._connection.close()
        self.closed = True


def _parse(line: bytes) -> Message:
    if len(line) > LONGEST_LINE:
        raise ValueError("too long")
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def listen(host: str, port: int = 0, *, one_host: bool = False) -> tuple[socket.socket, Address]:
    """A listening socket, and what members need to find it. OSError if refused.

    Where all ranks are on one host it listens on loopback only, else on every IPv4 address.
    """
    listener = socket.create_server((LOOPBACK if one_host else "", port), backlog=1024)
    listener.setblocking(False)
    address: Address = {
        "host": host,
        "port": listener.getsockname()[1],
        "candidates": [LOOPBACK] if one_host else ipv4_addresses(),
        "secret": secrets.token_hex(32),
    }
    return listener, address


def ipv4_addresses() -> list[str]:
    """The IPv4 address of each interface, loopback last: it serves members on the same host."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # the interface has none, or went away
                reply = fcntl.ioctl(query, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(reply[20:24]))
    return sorted(dict.fromkeys(found), key=lambda address: address.startswith("127."))


def connect(
    address: Address, *, rank: int, host: str, timeout_s: float, give_up: Callable[[], bool] = lambda: False
) -> Wire:
    """Reach the root: each of its addresses in turn, until one proves that it knows the secret. OSError after `timeout_s`, or
    when `give_up` says so.

    An address such as docker0's exists on every host, so what answers there need not be the root. It learns nothing.
    """
    candidates = sorted(address["candidates"], key=lambda a: a.startswith("127.") != (host == address["host"]))
    deadline = time.monotonic() + timeout_s
    reason = "it has no address"
    while time.monotonic() < deadline and not give_up():
        for candidate in candidates:
            limit_s = max(0.05, min(2.0, deadline - time.monotonic()))
            try:
                return _shake_hands(candidate, address, rank=rank, host=host, limit_s=limit_s)
            except OSError as error:
                reason = f"{candidate}:{address['port']}: {error or type(error).__name__}"
        time.sleep(0.2)
    raise OSError(reason)


def _shake_hands(candidate: str, address: Address, *, rank: int, host: str, limit_s: float) -> Wire:
    with contextlib.ExitStack() as on_failure:
        connection = on_failure.enter_context(socket.create_connection((candidate, address["port"]), limit_s))
        wire = Wire(connection)
        deadline = time.monotonic() + limit_s
        hello: Hello | None = None
        while time.monotonic() < deadline and not wire.closed:
            for number, message in enumerate(messages := wire.receive()):
                if hello is None:
                    hello = Hello.to(message.get("challenge"), rank=rank, host=host)
                    if hello is None:
                        raise OSError("something else answers there")
                    wire.send(hello.to_message(address["secret"]))
                    continue
                if not is_answer(message, hello, address["secret"]):
                    raise OSError("something else answers there")
                wire.unread(messages[number + 1 :])
                on_failure.pop_all()
                return wire
            time.sleep(0.01)
    raise OSError("no answer")
