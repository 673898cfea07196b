"""Watchdogs of several ranks in one process, over real sockets, with limits of tenths of a second."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

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

    def verdict(self, timeout_s: float = 3.0) -> tuple[int, Verdict]:
        return self.verdicts.get(timeout=timeout_s)

    def quiet(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self.verdicts.empty() and self.warnings.empty()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    before = threading.active_count()
    one = Cluster()
    yield one
    for rank in one.ranks:
        rank.close()
    wait_until(lambda: threading.active_count() == before)


def wait_until(holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
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


def test_a_rank_alone_has_no_threads_and_no_broadcast() -> None:
    before = threading.active_count()
    alone = Watchdog.start(rank=0, size=1, host="h", broadcast=lambda _: pytest.fail("called"))
    alone.phase("x", waits_for_others=True)
    alone.progress(1)
    alone.stopping()
    alone.close()
    assert threading.active_count() == before


def test_start_hands_the_address_round(cluster: Cluster) -> None:
    board: queue.Queue[dict[str, object]] = queue.Queue()

    def give(address: dict[str, object]) -> dict[str, object]:
        board.put(address)
        return address

    root = Watchdog.start(rank=0, size=2, host="h0", broadcast=give, limits=LIMITS, on_failure=lambda _: None)
    member = Watchdog.start(rank=1, size=2, host="h1", broadcast=lambda _: board.get(), limits=LIMITS)
    cluster.ranks += [root, member]
    assert member.address == root.address
    assert root._loop is not None
    wait_until(lambda: 1 in root._loop.judge._seen)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_ranks_end_in_any_order_without_alarm(cluster: Cluster, order: tuple[int, ...]) -> None:
    ranks = cluster.start(3, Limits(watchdog_s=5, stall_s=0, beat_s=0.05))
    for rank in order:
        ranks[rank].close()
        time.sleep(0.06)
    assert cluster.quiet(0.1)


def test_a_job_in_good_health_is_left_alone(cluster: Cluster) -> None:
    ranks = cluster.start(2, Limits(watchdog_s=0.6, stall_s=0.6, beat_s=0.05))
    for step in range(30):
        for rank in ranks:
            rank.phase(f"step {step}", waits_for_others=True)
            rank.progress(step)
        assert cluster.quiet(0.04)


def test_a_closed_connection_without_a_word_is_a_death(cluster: Cluster) -> None:
    ranks = cluster.start(3)
    ranks[2].phase("step 7", waits_for_others=True)
    time.sleep(0.15)
    assert ranks[2]._loop is not None
    ranks[2]._loop._root.close()  # type: ignore[attr-defined]
    speaker, verdict = cluster.verdict()
    assert (speaker, verdict.kind, verdict.ranks) == (0, "died", (2,))
    assert verdict.message.startswith("rank 2 on host h2 died without a word, last heard up to 0.05 s before: step 7 (")


def test_a_rank_that_dies_before_its_first_beat_is_missed(cluster: Cluster) -> None:
    ranks = cluster.start(2, Limits(watchdog_s=60, beat_s=60))
    ranks[0].size = 3
    with socket.create_connection(("127.0.0.1", ranks[0].address["port"])) as third:
        join(third, ranks[0].address["secret"], rank=2, host="h2")
    assert cluster.verdict()[1].message.startswith("rank 2 on host h2 died without a word")


def test_a_dead_root_is_told_once_by_the_lowest_living_rank_first(cluster: Cluster) -> None:
    ranks = cluster.start(3)
    assert isinstance(ranks[0]._loop, watchdog_root.RootLoop)
    for _, wire in sorted(ranks[0]._loop._members.items()):
        wire._connection.shutdown(socket.SHUT_RDWR)
    said = [cluster.verdict(), cluster.verdict()]
    # In this test the root lives, and takes the members for dead.
    assert sorted(speaker for speaker, _ in said) == [0, 1]
    assert next(verdict for speaker, verdict in said if speaker == 1).message.startswith(
        "rank 0 on host h0 died without"
    )
    began = time.monotonic()
    ranks[2].close()
    assert cluster.quiet(0.1)
    assert time.monotonic() - began < 1


def test_a_cut_link_is_silence_on_both_sides(cluster: Cluster) -> None:
    address = cluster.make(0, 2).lead()
    relay = Cut(address["port"])
    cluster.make(1, 2).follow({**address, "port": relay.port, "candidates": ["127.0.0.1"]})
    assert cluster.quiet(0.8)
    relay.whole = False
    began = time.monotonic()
    verdicts = dict([cluster.verdict(), cluster.verdict()])
    assert time.monotonic() - began < 2
    relay.close()
    assert (verdicts[0].kind, verdicts[0].ranks) == ("frozen", (1,))
    assert (verdicts[1].kind, verdicts[1].ranks) == ("frozen", (0,))


@pytest.mark.parametrize("sleeper", [0, 1])
def test_a_sleeping_rank_is_named_by_the_root(cluster: Cluster, sleeper: int) -> None:
    ranks = cluster.start(2, Limits(watchdog_s=5, stall_s=0.4, beat_s=0.05))
    for rank in ranks:
        rank.phase("step 3", waits_for_others=True)
    ranks[sleeper].phase("reading rows", waits_for_others=False)
    speaker, verdict = cluster.verdict()
    assert (speaker, verdict.kind, verdict.ranks) == (0, "stalled", (sleeper,))
    assert f"rank {sleeper} on host h{sleeper}, for 0 s at: reading rows" in verdict.message


def test_a_rank_that_fails_with_its_own_message_is_not_talked_over(cluster: Cluster) -> None:
    ranks = cluster.start(2)
    ranks[1].failed("DataError: no such file " + "é" * 5000)
    assert cluster.quiet(0.2)
    _, verdict = cluster.verdict()
    assert (verdict.kind, verdict.ranks) == ("failed", (1,))
    assert verdict.message.startswith("rank 1 on host h1 failed: DataError: no such file é")


def test_ranks_that_are_being_stopped_are_not_judged(cluster: Cluster) -> None:
    ranks = cluster.start(2)
    ranks[1].stopping()
    time.sleep(0.1)
    assert ranks[1]._loop is not None
    ranks[1]._loop._root.close()  # type: ignore[attr-defined]
    ranks[0].stopping()
    assert cluster.quiet(0.8)


def test_a_death_before_the_stop_is_still_told(cluster: Cluster) -> None:
    """mpirun answers a dead rank by stopping the others: the signal must not swallow the reason."""
    ranks = cluster.start(2, Limits(watchdog_s=60, beat_s=60, connect_s=2))
    assert ranks[0]._loop is not None
    assert ranks[1]._loop is not None
    ranks[1]._loop._root.close()  # type: ignore[attr-defined]
    ranks[0].stopping()
    assert cluster.verdict()[1].kind == "died"


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


def test_a_port_that_is_blocked_is_told_once_and_training_goes_on(cluster: Cluster) -> None:
    limits = Limits(watchdog_s=0.5, beat_s=0.05, connect_s=0.3)
    address = cluster.make(0, 2, limits).lead()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    member = cluster.make(1, 2, limits)
    member.follow({**address, "port": port})
    warning = cluster.warnings.get(timeout=5)
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
    assert time.monotonic() - began < 1
    assert cluster.quiet(0)


def test_no_port_to_have_is_told_and_training_goes_on(cluster: Cluster) -> None:
    with socket.create_server(("", 0)) as taken:
        root = cluster.make(0, 2)
        assert root.lead(taken.getsockname()[1]) == {}
    assert "cannot open a port for the watchdog" in cluster.warnings.get_nowait()
    member = cluster.make(1, 2)
    member.follow({})
    assert member._loop is None


def test_a_defect_of_the_watch_is_no_death(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = cluster.start(2)
    monkeypatch.setattr(ranks[1], "beat", lambda: 1 / 0)
    assert "the watchdog of rank 1 stopped: ZeroDivisionError" in cluster.warnings.get(timeout=3)
    assert cluster.quiet(0.8)


def test_calls_of_the_trainer_cost_nothing(cluster: Cluster) -> None:
    ranks = cluster.start(2)
    began = time.monotonic()
    for step in range(10_000):
        ranks[0].phase("step", waits_for_others=True)
        ranks[0].progress(step)
    assert (time.monotonic() - began) / 20_000 < 20e-6
