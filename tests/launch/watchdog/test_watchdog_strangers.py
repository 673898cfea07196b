"""Connections of strangers, and ports that are blocked: training goes on."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
from typing import NoReturn

import pytest
from watchdog_cluster import Cluster, join, line_from

from hvd_train.watchdog import root as watchdog_root
from hvd_train.watchdog.rules import Limits


def test_strangers_are_turned_away(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_root, "STRANGER_S", 0.2)
    ranks = cluster.start(2)
    address = ("127.0.0.1", ranks[0].address["port"])
    secret = ranks[0].address["secret"]
    hellos = (
        b'{"proof": "x", "rank": 1, "host": "h", "challenge": "%s"}\n' % (b"m" * 32),
        b'{"secret": "%s", "rank": 1}\n' % secret.encode(),
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    )
    for hello in hellos:
        with socket.create_connection(address) as stranger:
            assert set(json.loads(line_from(stranger))) == {"challenge"}
            stranger.sendall(hello)
            assert stranger.recv(100) == b""
    with socket.create_connection(address) as stranger, pytest.raises(AssertionError):
        join(stranger, secret, rank=2, host="h2")  # there are two ranks
    assert cluster.quiet(0.1)


@pytest.mark.parametrize("waits", ["for a free place", "for a free file descriptor"])
def test_strangers_that_cannot_be_taken_do_not_keep_the_loop_awake(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    """65 idle connections made a busy loop of it, and training slower by six times."""
    monkeypatch.setattr(watchdog_root, "MOST_STRANGERS", 3)
    ranks = cluster.start(2, Limits(watchdog_s=5, stall_s=0, beat_s=0.05))
    root = ranks[0]._loop
    assert isinstance(root, watchdog_root.RootLoop)
    turns = []
    read = root.read
    monkeypatch.setattr(root, "read", lambda selector: (turns.append(1), read(selector)))
    if waits == "for a free file descriptor":
        root._listener = NoDescriptors(root._listener)  # type: ignore[assignment]
    with contextlib.ExitStack() as strangers:
        for _ in range(6):
            strangers.enter_context(socket.create_connection(("127.0.0.1", ranks[0].address["port"])))
        time.sleep(0.3)
        before = len(turns)
        time.sleep(0.5)
        # Two beats of each rank in 0.05 s, and nothing for those who wait.
        assert len(turns) - before < 60
        assert len(root._strangers) <= 3
        assert cluster.quiet(0)


class NoDescriptors:
    """A listener from which nobody can be taken."""

    def __init__(self, listener: socket.socket) -> None:
        self.fileno, self.close = listener.fileno, listener.close

    def accept(self) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_port_that_is_blocked_is_told_once_and_training_goes_on(cluster: Cluster) -> None:
    limits = Limits(watchdog_s=0.5, beat_s=0.05, connect_s=0.3)
    address = cluster.make(0, 2, limits).lead()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    member = cluster.make(1, 2, limits)
    member.follow({**address, "port": port})
    warning = cluster.warnings.get(timeout=20)
    assert warning.startswith("rank 1 on host h1 cannot reach the watchdog of rank 0 on host h0 (")
    assert "Training goes on without a watch over this rank" in warning
    member.phase("step 1", waits_for_others=True)
    assert cluster.quiet(0.8)


def test_closing_does_not_wait_for_a_port_that_is_blocked(cluster: Cluster) -> None:
    address = cluster.make(0, 2).lead()
    member = cluster.make(1, 2, Limits(connect_s=60))
    member.follow({**address, "port": 1})
    began = time.monotonic()
    member.close()
    assert time.monotonic() - began < 30  # of 60
    assert cluster.quiet(0)


def test_no_port_to_have_is_told_and_training_goes_on(cluster: Cluster) -> None:
    with socket.create_server(("", 0)) as taken:
        root = cluster.make(0, 2)
        assert root.lead(taken.getsockname()[1]) == {}
    assert "cannot open a port for the watchdog" in cluster.warnings.get_nowait()
    member = cluster.make(1, 2)
    member.follow({})
    assert member._loop is None
