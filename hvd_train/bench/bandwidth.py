"""One rank that measures how fast ranks add up messages, and how fast all of them copy memory at once.

    mpirun -np 2 python -m hvd_train.bench.bandwidth '{"way": "mpi", "sizes": [1024, 1048576], "seconds": 0.2, "out": "FILE"}'

Two ways, in two jobs, so that Horovod's thread does not run beside the other: "horovod" is the allreduce of a tensor as
training uses it (with its cycle time and its copies into the fusion buffer), "mpi" MPI's allreduce alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.bench.rank_program import run_as_rank

# Of the copy whose speed is the memory's: far more than any cache holds.
COPIED_BYTES = 2**27


def main(argv: list[str]) -> None:
    spec: dict[str, Any] = json.loads(argv[0])
    found = by_horovod(spec) if spec["way"] == "horovod" else by_mpi(spec)
    if found is not None:
        Path(spec["out"]).write_text(json.dumps(found))


def by_horovod(spec: dict[str, Any]) -> dict[str, Any] | None:
    """Seconds by size; the answer on the root alone. All ranks."""
    from hvd_train.distributed import open_world

    world = open_world()
    import tensorflow as tf

    from hvd_train import keras as hvd

    def actions() -> Iterator[Callable[[], Any]]:
        for size in spec["sizes"]:
            tensor = tf.ones(size // 4)
            reduce = tf.function(partial(hvd.allreduce, op=hvd.Sum, name=f"bench.{size}"))
            yield partial(lambda reduce, tensor: reduce(tensor).numpy(), reduce, tensor)

    seconds = [timed(world.allgather, action, spec["seconds"]) for action in actions()]
    answer = {"seconds": seconds} if world.is_root else None
    world.close()
    return answer


def by_mpi(spec: dict[str, Any]) -> dict[str, Any] | None:
    """The same by MPI alone, and the memory's speed. No TensorFlow. All ranks."""
    from hvd_train.distributed import detect_placement, read_machine, settings

    settings.apply(settings.choose(detect_placement(os.environ), read_machine(), os.environ))
    from mpi4py import MPI

    ranks = MPI.COMM_WORLD

    def gather(item: Any) -> list[Any]:
        return list(ranks.allgather(item))

    def actions() -> Iterator[Callable[[], Any]]:
        for size in spec["sizes"]:
            sent, received = np.ones(size // 4, np.float32), np.empty(size // 4, np.float32)
            yield partial(ranks.Allreduce, sent, received)

    seconds = [timed(gather, action, spec["seconds"]) for action in actions()]
    source, target = np.ones(COPIED_BYTES, np.uint8), np.empty(COPIED_BYTES, np.uint8)
    # Each copied byte is read and written.
    copied = gather(2 * COPIED_BYTES / timed(gather, lambda: np.copyto(target, source), spec["seconds"]))
    answer = {"seconds": seconds, "memory_bytes_per_s": sum(copied), "size": ranks.size}
    return answer if ranks.rank == 0 else None


def timed(gather: Callable[[Any], list[Any]], action: Callable[[], Any], seconds: float) -> float:
    """Seconds of one call, the slowest rank's. All ranks: they make the same number of calls, twice as many each time."""
    action()
    count, spent = 1, 0.0
    while True:
        gather(0)
        began = time.perf_counter()
        for _ in range(count):
            action()
        took = float(max(gather(time.perf_counter() - began)))
        spent += took
        if spent >= seconds:
            return took / count
        count *= 2


if __name__ == "__main__":
    run_as_rank(main)
