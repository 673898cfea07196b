"""How many virtual workers there are, which are whose, and in which order a rank takes their batches. Pure functions.

A worker owns V / W consecutive virtual shards, and a rank computes W / size consecutive workers, one after the other. So the
number of ranks decides who computes a worker, and never what a worker computes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import DistributedConfig
from hvd_train.data import in_words, nearest_divisors
from hvd_train.errors import ConfigError

DEFAULT_WORKERS = 4
# An execution ends where a worker's turn ends, so it takes a divisor of the local steps, and at most so many.
MOST_STEPS_PER_EXECUTION = 64


@dataclass(frozen=True)
class WorkerPlan:
    """The virtual workers of a run, seen from one rank."""

    local_steps: int
    """Steps of each worker between two averages."""
    num_workers: int
    """Over all ranks."""
    own: range
    """The workers of this rank."""

    @property
    def turn(self) -> int:
        """Batches that this rank computes between two averages."""
        return self.local_steps * len(self.own)

    def order(self, order_SB: NDArray[np.int32]) -> NDArray[np.int32]:
        """(S, B) positions of all own workers' rows, step by step, as (S * workers, B / workers): worker by worker in each turn.

        A step's rows stand one virtual shard after another, so the rows of a worker are consecutive.
        """
        num_steps, num_rows = order_SB.shape
        count = len(self.own)
        turns = order_SB.reshape(num_steps // self.local_steps, self.local_steps, count, num_rows // count)
        return np.ascontiguousarray(turns.transpose(0, 2, 1, 3)).reshape(num_steps * count, num_rows // count)

    def steps_per_execution(self, wanted: int | None) -> int:
        """The largest divisor of the local steps that is at most `wanted`, or 64."""
        limit = min(wanted or MOST_STEPS_PER_EXECUTION, self.local_steps)
        return next(steps for steps in range(limit, 0, -1) if self.local_steps % steps == 0)


def resolve_workers(config: DistributedConfig, *, size: int, num_virtual_shards: int) -> int | None:
    """The number of virtual workers, or None where every step averages gradients. Pure: every rank gets the same.

    Raises:
        ConfigError: the ranks cannot share the workers, or the workers the virtual shards.
    """
    V = num_virtual_shards
    if config.local_steps == 1:
        return None
    W = config.virtual_workers or math.gcd(DEFAULT_WORKERS, V)
    if V % W:
        raise ConfigError(
            f"virtual_workers = {W} cannot share {V} virtual shards equally: it must divide their number. "
            f"Nearest: {in_words(nearest_divisors(W, of=V))}; or --num-virtual-shards {math.lcm(V, W)} (converts the table again)."
        )
    if W % size:
        more = [n for n in range(size, V + 1, size) if V % n == 0][:1]
        raise ConfigError(
            f"{size} ranks cannot share {W} virtual workers equally: the number of ranks must divide the number of workers. "
            f"Nearest: {in_words(nearest_divisors(size, of=W))} ranks"
            + (f"; or --virtual-workers {more[0]}, which is another experiment." if more else ".")
        )
    return W


def worker_plan(config: DistributedConfig, *, rank: int, size: int) -> WorkerPlan | None:
    """The plan of a resolved config; None where every step averages gradients."""
    if config.local_steps == 1:
        return None
    assert config.virtual_workers is not None
    each = config.virtual_workers // size
    return WorkerPlan(config.local_steps, config.virtual_workers, range(rank * each, (rank + 1) * each))
