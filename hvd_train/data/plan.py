"""EpochPlan: which rows of which virtual shard take part in which step, whatever the number of ranks.

Step s takes `rows_per_shard_step` rows of *every* virtual shard, so an epoch has as many steps as the smallest virtual
shard allows, on every rank. A shard's rows that are left over take turns: a pure function of (seed, epoch, shard)
decides, so a resumed run and one on another number of ranks see the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hvd_train.errors import DataError

_TURNS, _ORDER = 1, 2  # streams of the same seed that must not meet


def generator(*key: int) -> np.random.Generator:
    """A generator that is a pure function of the ints of `key` (each at least 0)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


class EpochPlan:
    """The order of the train rows. Pure numpy; every rank builds the same one from the sizes of all virtual shards."""

    def __init__(self, seed: int, shard_sizes: Sequence[int] | NDArray[np.int64], rows_per_shard_step: int) -> None:
        self.seed = seed
        self.shard_sizes = np.asarray(shard_sizes, np.int64)
        self.rows_per_shard_step = rows_per_shard_step
        self.num_steps = int(self.shard_sizes.min()) // rows_per_shard_step
        """Steps of an epoch, the same on every rank."""
        if self.num_steps == 0:
            raise DataError(
                f"A step takes {rows_per_shard_step} rows of each of {len(self.shard_sizes)} virtual shards, but the "
                f"smallest has {self.shard_sizes.min()}: give a global batch of at most "
                f"{self.shard_sizes.min() * len(self.shard_sizes)} rows, or more data."
            )

    @property
    def rows_per_shard(self) -> int:
        """Rows that an epoch takes of each virtual shard."""
        return self.num_steps * self.rows_per_shard_step

    def order(
        self, epoch: int, shards: Sequence[int], shard_starts: Sequence[int] | NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Positions (num_steps, len(shards) * rows_per_shard_step) into the concatenated rows of `shards`.

        `shard_starts[i]` is where the rows of `shards[i]` begin there. Each step holds the rows of its shards one shard
        after another.
        """
        parts = [
            (self.shard_order(epoch, shard) + int(start)).reshape(self.num_steps, self.rows_per_shard_step)
            for shard, start in zip(shards, shard_starts, strict=False)
        ]
        return np.concatenate(parts, axis=1).astype(np.int32)

    def shard_order(self, epoch: int, shard: int) -> NDArray[np.int64]:
        """(rows_per_shard,) rows of one virtual shard in the order of an epoch, each at most once."""
        size, used = int(self.shard_sizes[shard]), self.rows_per_shard
        turns = generator(self.seed, _TURNS, shard).permutation(size)
        left_out = size - used
        # Each epoch's left-over rows follow the last one's on a ring, so everyone's turn comes equally often.
        chosen = turns[(epoch * left_out + left_out + np.arange(used)) % size]
        return generator(self.seed, _ORDER, epoch, shard).permutation(chosen)
