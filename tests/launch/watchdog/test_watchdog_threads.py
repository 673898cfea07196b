"""Watchdogs of several ranks in one process, over real sockets, with limits of tenths of a second."""

from __future__ import annotations

import itertools
import queue
import socket
import threading
import time

import pytest
from watchdog_cluster import LIMITS, Cluster, Cut, join, wait_until

from hvd_train.watchdog import root as watchdog_root
from hvd_train.watchdog.rules import Limits
from hvd_train.watchdog.watchdog import Watchdog


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
    ranks[2].close()
    assert cluster.quiet(0.1)


def test_a_cut_link_is_silence_on_both_sides(cluster: Cluster) -> None:
    address = cluster.make(0, 2).lead()
    relay = Cut(address["port"])
    cluster.make(1, 2).follow({**address, "port": relay.port, "candidates": ["127.0.0.1"]})
    assert cluster.quiet(0.8)
    relay.whole = False
    verdicts = dict([cluster.verdict(), cluster.verdict()])
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


def test_a_defect_of_the_watch_is_no_death(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = cluster.start(2)
    monkeypatch.setattr(ranks[1], "beat", lambda: 1 / 0)
    assert "the watchdog of rank 1 stopped: ZeroDivisionError" in cluster.warnings.get(timeout=20)
    assert cluster.quiet(0.8)


def test_calls_of_the_trainer_cost_nothing(cluster: Cluster) -> None:
    ranks = cluster.start(2)
    began = time.thread_time()
    for step in range(10_000):
        ranks[0].phase("step", waits_for_others=True)
        ranks[0].progress(step)
    assert (time.thread_time() - began) / 20_000 < 20e-6
