"""Watchdogs of several ranks in one process, over real sockets, and a cable that can be pulled."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable

from hvd_train.watchdog import root as watchdog_root
from hvd_train.watchdog.proof import Hello, is_answer
from hvd_train.watchdog.rules import Limits, Verdict
from hvd_train.watchdog.watchdog import Watchdog

LIMITS = Limits(watchdog_s=0.5, stall_s=0, beat_s=0.05, connect_s=2.0, settle_s=0.1, failed_s=0.3)
Verdicts = queue.Queue[tuple[int, Verdict]]


class Cluster:
    """`size` watchdogs; their verdicts and warnings in the order they came."""

    def __init__(self) -> None:
        self.verdicts: Verdicts = queue.Queue()
        self.warnings: queue.Queue[str] = queue.Queue()
        self.ranks: list[Watchdog] = []

    def make(self, rank: int, size: int, limits: Limits = LIMITS) -> Watchdog:
        def on_failure(verdict: Verdict) -> None:
            self.verdicts.put((rank, verdict))

        one = Watchdog(
            rank=rank, size=size, host=f"h{rank}", limits=limits, on_failure=on_failure, warn=self.warnings.put
        )
        self.ranks.append(one)
        return one

    def start(self, size: int, limits: Limits = LIMITS) -> list[Watchdog]:
        address = self.make(0, size, limits).lead()
        for rank in range(1, size):
            self.make(rank, size, limits).follow(address)
        root = self.ranks[0]._loop
        assert isinstance(root, watchdog_root.RootLoop)
        wait_until(lambda: len(root.judge._seen) == size)
        wait_until(lambda: all(rank._loop is None or rank._loop.judge._seen for rank in self.ranks))
        return self.ranks

    def verdict(self, timeout_s: float = 20.0) -> tuple[int, Verdict]:
        return self.verdicts.get(timeout=timeout_s)

    def quiet(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self.verdicts.empty() and self.warnings.empty()


def wait_until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Cut:
    """A relay between a member and the root that can stop passing anything on, as a pulled cable does."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.whole = True
        self._port = port
        self._sockets: list[socket.socket] = [self.listener]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(("127.0.0.1", self._port))
        self._sockets += [near, far]
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                if self.whole:
                    sink.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        for one in self._sockets:
            one.close()


def line_from(connection: socket.socket) -> bytes:
    connection.settimeout(3)
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(1)
        assert data, line
        line += data
    return line


def join(connection: socket.socket, secret: str, *, rank: int, host: str) -> None:
    """Become a member of the watch, as `connect` does."""
    hello = Hello.to(json.loads(line_from(connection))["challenge"], rank=rank, host=host)
    assert hello is not None
    connection.sendall(json.dumps(hello.to_message(secret)).encode() + b"\n")
    assert is_answer(json.loads(line_from(connection)), hello, secret)
