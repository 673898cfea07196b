"""One rank on each host that measures latency and bandwidth between hosts, pair by pair, over MPI.

    mpirun --map-by node -np 2 python -m hvd_train.bench.hosts.ping_pong '{"sizes": [8, 1048576], "seconds": 0.1, "out": "FILE"}'

In every pair both send at once, as in an allreduce. While a pair measures, the others wait asleep.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.bench.rank_program import run_as_rank

# Every pair is measured up to so many hosts. Among more, each host with the next and with the one half way around.
ALL_PAIRS_OF = 16
POLL_S = 0.001
MOST_REPEATS = 2000


def main(argv: list[str]) -> None:
    spec: dict[str, Any] = json.loads(argv[0])
    from hvd_train.distributed import detect_placement, read_machine, settings

    settings.apply(settings.choose(detect_placement(os.environ), read_machine(), os.environ))
    from mpi4py import MPI

    ranks = MPI.COMM_WORLD
    names = ranks.allgather(detect_placement(os.environ).host)
    found = []
    for a, b in pairs(ranks.size):
        if ranks.rank in (a, b):
            seconds = [exchange_s(ranks, a + b - ranks.rank, size, spec["seconds"]) for size in spec["sizes"]]
            if ranks.rank == a and a != 0:
                ranks.send(seconds, 0, tag=1)
        if ranks.rank == 0:
            found.append({"hosts": [names[a], names[b]], "seconds": seconds if a == 0 else ranks.recv(source=a, tag=1)})
        meet(ranks)
    if ranks.rank == 0:
        Path(spec["out"]).write_text(json.dumps({"hosts": names, "pairs": found}))


def pairs(size: int) -> list[tuple[int, int]]:
    """Which pairs are measured.

    >>> pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    if size <= ALL_PAIRS_OF:
        return list(combinations(range(size), 2))
    ends = {tuple(sorted((n, (n + step) % size))) for step in (1, size // 2) for n in range(size)}
    return sorted((a, b) for a, b in ends)


def exchange_s(ranks: Any, other: int, size: int, seconds: float) -> float:
    """Seconds until both have a message of `size` bytes of the other: the median. Both call it."""
    sent, received = np.ones(size, np.uint8), np.empty(size, np.uint8)

    def timed(count: int) -> list[float]:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            ranks.Sendrecv(sent, other, recvbuf=received, source=other)
            times.append(time.perf_counter() - began)
        return times

    first = float(np.median(timed(3)))
    # The lower rank decides: both must take the same number.
    count = max(3, min(MOST_REPEATS, round(seconds / max(first, 1e-7))))
    count = ranks.sendrecv(count, other, source=other) if ranks.rank > other else _told(ranks, other, count)
    return float(np.median(timed(count)))


def _told(ranks: Any, other: int, count: int) -> int:
    ranks.sendrecv(count, other, source=other)
    return count


def meet(ranks: Any) -> None:
    """A barrier in which nobody computes."""
    request = ranks.Ibarrier()
    while not request.Test():
        time.sleep(POLL_S)


def slowest(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The pair of the longest latency and that of the lowest rate; `found` are pairs with their `latency_s` and `bytes_per_s`."""
    late = max(found, key=lambda pair: pair["latency_s"])
    slow = min(found, key=lambda pair: pair["bytes_per_s"])
    return {"latency": {key: late[key] for key in ("hosts", "latency_s")},
            "bandwidth": {key: slow[key] for key in ("hosts", "bytes_per_s")}}  # fmt: skip


if __name__ == "__main__":
    run_as_rank(main)
