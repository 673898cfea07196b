"""Sums in the memory of a host: of threads that stand in for ranks, and of processes that end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hvd_train.distributed import host_memory
from hvd_train.distributed.host_memory import HostMemory, join
from hvd_train.distributed.placement import Placement

LIMIT_S = 60.0


def place(rank: int, size: int, *, local_size: int | None = None) -> Placement:
    local = size if local_size is None else local_size
    return Placement(rank=rank, size=size, local_rank=rank % local, local_size=local, host="lab1", launcher="launch")


class Gathering:
    """What a World gathers, between threads."""

    def __init__(self, size: int) -> None:
        self.items: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=LIMIT_S)

    def of(self, rank: int) -> host_memory.Gather:
        def gather(item: Any) -> list[Any]:
            self.items[rank] = item
            self.barrier.wait()
            found = list(self.items)
            self.barrier.wait()
            return found

        return gather


def on_ranks(size: int, action: Callable[[int, host_memory.Gather], Any]) -> list[Any]:
    gathering = Gathering(size)
    with ThreadPoolExecutor(size) as pool:
        return [done.result(LIMIT_S) for done in [pool.submit(action, r, gathering.of(r)) for r in range(size)]]


@pytest.fixture
def joined() -> Iterator[Callable[[int], list[HostMemory]]]:
    with contextlib.ExitStack() as held:

        def make(size: int) -> list[HostMemory]:
            memories = on_ranks(size, lambda rank, gather: join(place(rank, size), gather))
            assert all(memory is not None for memory in memories)
            for memory in memories:
                held.callback(memory.close)
            return memories

        yield make


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_every_rank_gets_the_sum_in_the_order_of_ranks(
    joined: Callable[[int], list[HostMemory]], size: int, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    addends = [(1000 * rng.standard_normal((7, 11))).astype(dtype) for _ in range(size)]
    expected = addends[0] + addends[1]
    for addend in addends[2:]:
        expected = expected + addend
    memories = joined(size)
    for total in on_ranks(size, lambda rank, _: memories[rank].sum(addends[rank])):
        assert total.dtype == np.dtype(dtype)
        assert total.tobytes() == expected.tobytes()


def test_the_average_and_many_sums_one_after_the_other(joined: Callable[[int], list[HostMemory]]) -> None:
    memories = joined(3)

    def work(rank: int, _: host_memory.Gather) -> list[np.ndarray]:
        sizes = (1, 2, 5000, 0, 2, 5000)
        return [memories[rank].sum(np.full(n, rank + i, "float32"), average=True) for i, n in enumerate(sizes)]

    for found in on_ranks(3, work):
        assert [array.tolist()[:1] for array in found] == [[1], [2], [3], [], [5], [6]]
        # What was returned does not change by a later sum of the same size.
        assert set(found[2].tolist()) == {3.0}


def test_ranks_that_sum_different_things_are_told_so(joined: Callable[[int], list[HostMemory]]) -> None:
    memories = joined(2)

    def work(rank: int, _: host_memory.Gather) -> str:
        try:
            memories[rank].sum(np.zeros(4 + rank))
        except (RuntimeError, ConnectionError) as error:
            memories[rank].close()
            return str(error)
        return ""

    told = on_ranks(2, work)
    assert "sums something else than rank 0" in told[0]
    assert told[1]


def test_ranks_of_several_hosts_share_no_memory() -> None:
    assert join(place(0, 4, local_size=2), lambda item: pytest.fail("nothing is gathered")) is None


def test_a_host_without_a_folder_for_the_socket_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert on_ranks(2, lambda rank, gather: join(place(rank, 2), gather)) == [None, None]


def test_a_rank_that_does_not_see_the_socket_makes_all_do_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in two containers on one host."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    connect = host_memory._connect
    monkeypatch.setattr(
        host_memory,
        "_connect",
        lambda path, token, rank: connect(path + ("x" if rank == 2 else ""), token, rank),
    )
    assert on_ranks(3, lambda rank, gather: join(place(rank, 3), gather)) == [None, None, None]
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_who_connects_is_not_taken_for_a_rank(
    joined: Callable[[int], list[HostMemory]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = host_memory._connect

    def after_a_stranger(path: str, token: bytes, rank: int) -> Any:
        connect(path, b"?" * len(token), 1).close()
        return connect(path, token, rank)

    monkeypatch.setattr(host_memory, "_connect", after_a_stranger)
    memories = joined(2)
    assert [total.tolist() for total in on_ranks(2, lambda rank, _: memories[rank].sum(np.ones(1)))] == [[2.0]] * 2


RANK = """
import sys, time
import numpy as np
from hvd_train.distributed.host_memory import HostMemory
import socket
rank, link = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
memory = HostMemory(rank, 2, {1 - rank: link})
while True:
    memory.sum(np.ones(1000))
    print("summed", flush=True)
"""


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_ends_the_sum_of_the_other_and_leaves_no_file(killed: int, tmp_path: Path) -> None:
    pair = socket.socketpair()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(pair[rank].fileno())],
            pass_fds=[pair[rank].fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            text=True,
        )
        for rank in range(2)
    ]
    for end in pair:
        end.close()
    try:
        assert ranks[0].stdout is not None
        assert ranks[0].stdout.readline() == "summed\n"
        ranks[killed].send_signal(signal.SIGKILL)
        told = ranks[1 - killed].communicate(timeout=LIMIT_S)[1]
    finally:
        for process in ranks:
            process.kill()
            process.communicate()
    assert host_memory.LOST in told
    assert list(tmp_path.iterdir()) == []
