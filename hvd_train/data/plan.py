"""EpochPlan: which rows of which virtual shard take part in which step, whatever the number of ranks.

Step s takes `rows_per_shard_step` rows of *every* virtual shard, so an epoch has as many steps as the smallest virtual
shard allows, on every rank. A shard's rows that are left over take turns: a pure function of (seed, epoch, shard)
decides, so a resumed run and one on another number of ranks see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hvd_train.errors import DataError

_TURNS, _ORDER, _LABEL_TURNS, _ROUNDING = 1, 2, 3, 4  # streams of the same seed that must not meet
_GOLDEN = 0.6180339887498949


def generator(*key: int) -> np.random.Generator:
    """A generator that is a pure function of the ints of `key` (each at least 0)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@dataclass(frozen=True, eq=False)
class Repeats:
    """Rows of rare labels more than once, by indices: no row is copied."""

    draws: NDArray[np.float64]
    """(V, K) rows of each label that each virtual shard gives to an epoch; see `balance.draws_per_epoch`."""

    def shard_rows(self, seed: int, epoch: int, shard: int, labels: NDArray[np.int32]) -> NDArray[np.int64]:
        """The rows of a shard for an epoch, label after label; `labels` (n,) are those of the shard's rows.

        The rows of a label stand on a ring, and each epoch goes on where the last one ended: within one, all are
        drawn equally often. A pure function of its arguments, so a resumed run goes on as if it had never stopped.
        """
        numbers = self._numbers(seed, epoch, shard)  # (epoch + 1, K)
        rows = []
        for label in np.flatnonzero(numbers[-1]):
            ring = generator(seed, _LABEL_TURNS, shard, int(label)).permutation(np.flatnonzero(labels == label))
            begin = int(numbers[:-1, label].sum())
            rows.append(ring[(begin + np.arange(numbers[-1, label])) % len(ring)])
        return np.concatenate(rows)

    def _numbers(self, seed: int, epoch: int, shard: int) -> NDArray[np.int64]:
        """(epoch + 1, K) whole numbers of rows of each epoch so far; each row sums to what the shard gives."""
        ends = np.cumsum(self.draws[shard])
        total = round(ends[-1])
        ends[ends == ends[-1]] = total  # rounding must not give a row to a label that has none
        # Systematic sampling: one offset an epoch rounds all labels together, and the offsets of successive epochs
        # are spread evenly (by the golden ratio), so that half a row a year is one row every other epoch.
        first = generator(seed, _ROUNDING, shard).random()
        offsets = (first + _GOLDEN * np.arange(epoch + 1)) % 1.0
        cuts = np.floor(ends[None, :] + offsets[:, None]).astype(np.int64)
        numbers: NDArray[np.int64] = np.diff(np.minimum(cuts, total), axis=1, prepend=0)
        return numbers


class EpochPlan:
    """The order of the train rows. Pure numpy; every rank builds the same one from the sizes of all virtual shards."""

    def __init__(
        self,
        seed: int,
        shard_sizes: Sequence[int] | NDArray[np.int64],
        rows_per_shard_step: int,
        *,
        repeats: Repeats | None = None,
        passes: int = 1,
    ) -> None:
        """`passes`: steps of one update of the weights. An epoch has whole ones; the rows of others take their turn."""
        self.seed, self.repeats = seed, repeats
        self.shard_sizes = np.asarray(shard_sizes, np.int64)
        self.rows_per_shard_step = rows_per_shard_step
        self.num_steps = int(self.shard_sizes.min()) // rows_per_shard_step // passes * passes
        """Steps of an epoch, the same on every rank."""
        self._turns: dict[int, NDArray[np.int64]] = {}
        if self.num_steps == 0:
            each, num_shards = int(self.shard_sizes.min()), len(self.shard_sizes)
            what = "A step takes" if passes == 1 else f"An update takes {passes} steps of"
            raise DataError(
                f"{what} {rows_per_shard_step} rows of each of {num_shards} virtual shards, but the smallest has {each}: "
                f"give a global batch of at most {each // passes * num_shards} rows, or more data."
            )

    @property
    def rows_per_shard(self) -> int:
        """Rows that an epoch takes of each virtual shard."""
        return self.num_steps * self.rows_per_shard_step

    def order(
        self,
        epoch: int,
        shards: Sequence[int],
        shard_starts: Sequence[int] | NDArray[np.int64],
        *,
        labels: NDArray[np.int32] | None = None,
    ) -> NDArray[np.int32]:
        """Positions (num_steps, len(shards) * rows_per_shard_step) into the concatenated rows of `shards`.

        `shard_starts[i]` is where the rows of `shards[i]` begin there; `labels` (N,) are the labels of those rows,
        needed with `repeats` alone. Each step holds the rows of its shards one shard after another.
        """
        parts = []
        for shard, start in zip(shards, shard_starts, strict=True):
            own = None if labels is None else labels[start : start + self.shard_sizes[shard]]
            rows = self.shard_order(epoch, shard, labels=own) + int(start)
            parts.append(rows.reshape(self.num_steps, self.rows_per_shard_step))
        return np.concatenate(parts, axis=1).astype(np.int32)

    def shard_order(self, epoch: int, shard: int, *, labels: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
        """(rows_per_shard,) rows of one virtual shard in the order of an epoch, each at most once without repeats."""
        size, used = int(self.shard_sizes[shard]), self.rows_per_shard
        if self.repeats is not None:
            if labels is None:
                raise ValueError("a plan with repeats needs the labels of the rows")
            chosen = self.repeats.shard_rows(self.seed, epoch, shard, labels)
        else:
            if shard not in self._turns:  # the same in every epoch, and half of an order's time
                self._turns[shard] = generator(self.seed, _TURNS, shard).permutation(size)
            turns = self._turns[shard]
            left_out = size - used
            # Each epoch's left-over rows follow the last one's on a ring, so everyone's turn comes equally often.
            chosen = turns[(epoch * left_out + left_out + np.arange(used)) % size]
        return generator(self.seed, _ORDER, epoch, shard).permutation(chosen)
