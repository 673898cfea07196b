"""Batch sizes: the global batch size is given, and the local one is derived from it. Plain functions of plain ints.

A step takes `global_batch_size / V` rows of each of the V virtual shards, and a rank owns `V / size` shards. So the
number of ranks must divide V, and V must divide the global batch size. Other sizes are refused, and the message names
the nearest possible ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from hvd_train.config import TrainingConfig
from hvd_train.data import in_words, nearest_divisors, nearest_multiples
from hvd_train.errors import ConfigError

# The default global batch size gives about so many steps in an epoch, within the limits.
TARGET_STEPS = 64
SMALLEST_BATCH, LARGEST_BATCH = 32, 512
MOST_VIRTUAL_SHARDS = 64


@dataclass(frozen=True)
class BatchSizes:
    """The batch sizes of a run, in rows."""

    global_batch_size: int
    local_batch_size: int
    rows_per_shard_step: int
    """Rows that a step takes from each virtual shard."""
    follows_size: bool
    """Whether the global batch size was derived from the local one, so that np changes the experiment."""


def default_global_batch_size(num_train_rows: int, num_virtual_shards: int) -> int:
    """About a power of two, a multiple of V, by the size of the table and never by the number of ranks.

    It is at most what the smallest virtual shard can give to one step, so it also fits a table of a few rows.
    """
    target = max(1, num_train_rows // TARGET_STEPS)
    power = 1 << (target.bit_length() - 1)
    size = min(max(power, SMALLEST_BATCH), LARGEST_BATCH)
    rows_per_shard_step = min(size // num_virtual_shards, num_train_rows // num_virtual_shards)
    return max(1, rows_per_shard_step) * num_virtual_shards


def shards_for_batch(training: TrainingConfig, size: int) -> int | None:
    """The largest power of two up to 64 that divides a global batch given by the user; None if none was given."""
    given = training.global_batch_size
    if given is None and training.local_batch_size is not None:
        given = training.local_batch_size * size
    if given is None:
        return None
    return min(given & -given, MOST_VIRTUAL_SHARDS)


def resolve_batch_sizes(
    training: TrainingConfig, *, size: int, num_virtual_shards: int, num_train_rows: int
) -> BatchSizes:
    """The batch sizes of a run, or ConfigError. Pure: every rank gets the same."""
    V = num_virtual_shards
    if V % size:
        raise ConfigError(
            f"{size} ranks cannot share {V} virtual shards equally: the number of ranks must divide the number of virtual shards. "
            f"Nearest: {in_words(nearest_divisors(size, of=V))} ranks{_other_shards(size, num_train_rows)}."
        )
    if training.local_batch_size is not None:
        local = training.local_batch_size
        own = V // size
        if local % own:
            raise ConfigError(
                f"local_batch_size = {local} cannot take equally from the {own} virtual shards of each rank. "
                f"Nearest: {in_words(nearest_multiples(local, of=own))}."
            )
        return _checked(BatchSizes(local * size, local, local // own, follows_size=True), V, num_train_rows)
    given = training.global_batch_size or default_global_batch_size(num_train_rows, V)
    if given % V:
        raise ConfigError(
            f"global_batch_size = {given} cannot take equally from {V} virtual shards. "
            f"Nearest: {in_words(nearest_multiples(given, of=V))}; or --num-virtual-shards {given & -given} (converts the table again)."
        )
    return _checked(BatchSizes(given, given // size, given // V, follows_size=False), V, num_train_rows)


def _other_shards(size: int, num_train_rows: int) -> str:
    """Another solution for `size` ranks: a number of virtual shards that they can share and these rows can fill."""
    shards = min(multiple_at_least(48, size), num_train_rows // size * size)
    if not shards:
        return ""
    return f"; or --num-virtual-shards {shards} (converts the table again) with a --global-batch-size that it divides"


def _checked(plan: BatchSizes, num_virtual_shards: int, num_train_rows: int) -> BatchSizes:
    smallest_shard = num_train_rows // num_virtual_shards
    if plan.rows_per_shard_step > smallest_shard:
        largest = smallest_shard * num_virtual_shards
        raise ConfigError(
            f"A global batch of {plan.global_batch_size} rows is more than the train split can fill: it has {num_train_rows} rows in "
            f"{num_virtual_shards} virtual shards. The largest batch here is {largest}; give more rows or a smaller --global-batch-size."
            if largest
            else f"The train split has {num_train_rows} rows, fewer than its {num_virtual_shards} virtual shards: "
            f"give more rows, or a smaller --num-virtual-shards."
        )
    return plan


def multiple_at_least(smallest: int, of: int) -> int:
    """The smallest multiple of `of` that is at least `smallest`.

    >>> multiple_at_least(48, 5)
    50
    """
    return -(-smallest // of) * of
