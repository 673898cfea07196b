"""One rank that measures how fast ranks add up messages, and how fast all of them copy memory at once.

    mpirun -np 2 python -m hvd_train.bench.bandwidth '{"sizes": [1024, 1048576], "seconds": 0.2, "out": "FILE"}'

Two ways for each size: Horovod's allreduce of a tensor, as training uses it (with its cycle time and its copies into
the fusion buffer), and MPI's allreduce alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hvd_train.bench.trial import run_as_rank

# Of the copy whose speed is the memory's: far more than any cache holds.
COPIED_BYTES = 2**27


def main(argv: list[str]) -> None:
    spec: dict[str, Any] = json.loads(argv[0])
    import numpy as np

    from hvd_train.world import open_world

    world = open_world()
    import tensorflow as tf
    from mpi4py import MPI  # Horovod has started MPI

    from hvd_train import keras as hvd

    found: list[dict[str, float]] = []
    for size in spec["sizes"]:
        tensor = tf.ones(size // 4)
        sent, received = np.ones(size // 4, np.float32), np.empty(size // 4, np.float32)
        reduce = tf.function(lambda x, size=size: hvd.allreduce(x, op=hvd.Sum, name=f"bench.{size}"))

        def by_horovod(reduce: Any = reduce, tensor: Any = tensor) -> None:
            reduce(tensor).numpy()

        def by_mpi(sent: Any = sent, received: Any = received) -> None:
            MPI.COMM_WORLD.Allreduce(sent, received)

        ways = (("horovod", by_horovod), ("mpi", by_mpi))
        found.append({"bytes": size} | {name: timed(world, way, spec["seconds"]) for name, way in ways})
    source, target = np.ones(COPIED_BYTES, np.uint8), np.empty(COPIED_BYTES, np.uint8)
    seconds = timed(world, lambda: np.copyto(target, source), spec["seconds"])
    # Each copied byte is read and written.
    copied = world.allgather(2 * COPIED_BYTES / seconds)
    if world.is_root:
        answer = {"sizes": found, "memory_bytes_per_s": sum(copied), "by_rank": copied, "size": world.size}
        Path(spec["out"]).write_text(json.dumps(answer))
    world.close()


def timed(world: Any, action: Callable[[], None], seconds: float) -> float:
    """Seconds of one call, the slowest rank's; all ranks make the same number of calls, at once. All ranks."""
    action()
    began = time.perf_counter()
    action()
    count = max(3, min(10_000, int(world.broadcast(seconds / max(time.perf_counter() - began, 1e-6)))))
    world.allgather(0)
    began = time.perf_counter()
    for _ in range(count):
        action()
    return float(max(world.allgather((time.perf_counter() - began) / count)))


if __name__ == "__main__":
    run_as_rank(main)
