"""Which rows are whose: virtual shards, ranks and sizes that divide. Pure functions of plain ints.

Rows are assigned to V virtual shards once, when a table is converted. A rank owns a run of consecutive virtual shards, so
the number of ranks decides who reads a row, never which rows share a batch.
"""

from __future__ import annotations

from hvd_train.errors import ConfigError

MAX_DEFAULT_SHARDS = 64
MIN_ROWS_PER_SHARD = 8
# A table of a few rows has shards of fewer rows instead, so that a few ranks can still share it.
FEW_SHARDS, MIN_ROWS_OF_FEW_SHARDS = 4, 2


def default_num_virtual_shards(num_train_rows: int) -> int:
    """The largest power of two, at most 64, that leaves at least 8 train rows to each virtual shard.

    Up to 4 shards, 2 rows each are enough; there is always at least 1 shard.

    >>> [default_num_virtual_shards(rows) for rows in (463_715, 100, 10, 5, 3)]
    [64, 8, 4, 2, 1]
    """
    num_shards = MAX_DEFAULT_SHARDS
    while num_shards > 1:
        fewest = MIN_ROWS_PER_SHARD if num_shards > FEW_SHARDS else MIN_ROWS_OF_FEW_SHARDS
        if num_train_rows >= fewest * num_shards:
            break
        num_shards //= 2
    return num_shards


def own_shards(rank: int, size: int, num_virtual_shards: int) -> range:
    """The virtual shards of a rank: v belongs to rank v * size // V.

    Raises ConfigError, with the nearest sizes that do, where `size` does not divide `num_virtual_shards`.

    >>> own_shards(1, 4, 64)
    range(16, 32)
    """
    if not 0 <= rank < size:
        raise ConfigError(f"rank {rank} of {size} ranks is not possible: ranks count from 0.")
    if num_virtual_shards % size:
        nearest = in_words(nearest_divisors(size, of=num_virtual_shards))
        raise ConfigError(
            f"{size} ranks cannot share {num_virtual_shards} virtual shards evenly: start {nearest} ranks, or convert "
            "the data with --num-virtual-shards set to a multiple of the number of ranks."
        )
    each = num_virtual_shards // size
    return range(rank * each, (rank + 1) * each)


def nearest_divisors(number: int, *, of: int) -> tuple[int, ...]:
    """The divisors of `of` nearest to `number`: itself if it is one, else the next below and, if any, the next above.

    >>> nearest_divisors(6, of=64), nearest_divisors(100, of=64), nearest_divisors(8, of=64)
    ((4, 8), (64,), (8,))
    """
    divisors = [d for d in range(1, of + 1) if of % d == 0]
    if number in divisors:
        return (number,)
    return (*[d for d in divisors if d < number][-1:], *[d for d in divisors if d > number][:1])


def nearest_multiples(number: int, *, of: int) -> tuple[int, ...]:
    """The positive multiples of `of` nearest to `number`: itself if it is one, else the next below, if any, and above.

    >>> nearest_multiples(100, of=64), nearest_multiples(10, of=64), nearest_multiples(128, of=64)
    ((64, 128), (64,), (128,))
    """
    below = number // of * of
    if below == number and number > 0:
        return (number,)
    return (below, below + of) if below > 0 else (max(below, 0) + of,)


def in_words(numbers: tuple[int, ...]) -> str:
    """The numbers as a sentence has them.

    >>> in_words((64, 128)), in_words((64,))
    ('64 or 128', '64')
    """
    return " or ".join(map(str, numbers))
