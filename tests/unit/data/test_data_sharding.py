"""Virtual shards and EpochPlan: the same rows whatever the number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.data import EpochPlan, default_num_virtual_shards, nearest_divisors, nearest_multiples, own_shards
from hvd_train.errors import ConfigError, DataError


@given(st.integers(0, 10**6))
def test_default_shards_are_the_largest_power_of_two_with_eight_rows_each(num_rows: int) -> None:
    num_shards = default_num_virtual_shards(num_rows)
    assert num_shards in {1, 2, 4, 8, 16, 32, 64}
    assert num_shards <= 4 or num_rows >= 8 * num_shards
    assert num_shards == 64 or num_rows < 16 * num_shards
    # Up to four shards, two rows each will do: a table of a dozen rows is shared by up to four ranks.
    assert num_shards == 1 or num_rows >= 2 * num_shards
    assert num_shards >= 4 or num_rows < 8


@given(st.integers(1, 12), st.integers(1, 12))
def test_ranks_own_all_shards_once(size: int, each: int) -> None:
    owned = [shard for rank in range(size) for shard in own_shards(rank, size, size * each)]
    assert owned == list(range(size * each))
    assert all(
        shard * size // (size * each) == rank for rank in range(size) for shard in own_shards(rank, size, size * each)
    )


def test_sizes_that_do_not_divide_are_refused_with_the_nearest_that_do() -> None:
    with pytest.raises(ConfigError, match="start 2 or 4 ranks"):
        own_shards(0, 3, 64)
    assert list(own_shards(2, 3, 48)) == list(range(32, 48))
    assert nearest_divisors(5, of=48) == (4, 6)
    assert nearest_multiples(5, of=48) == (48,)
    assert nearest_multiples(0, of=4) == (4,)


@st.composite
def plans(draw: st.DrawFn) -> tuple[EpochPlan, int, int]:
    size = draw(st.sampled_from([1, 2, 3, 4]))
    num_shards = size * draw(st.integers(1, 4))
    num_rows = draw(st.integers(num_shards, 40 * num_shards))
    sizes = [num_rows // num_shards + (v < num_rows % num_shards) for v in range(num_shards)]
    per_step = draw(st.integers(1, max(1, min(sizes) // 2)))
    return EpochPlan(draw(st.integers(0, 5)), sizes, per_step), size, draw(st.integers(0, 9))


@given(plans())
def test_each_row_at_most_once_and_the_same_batches_for_any_size(given_plan: tuple[EpochPlan, int, int]) -> None:
    plan, size, epoch = given_plan
    num_shards = len(plan.shard_sizes)
    batches: dict[int, list[np.ndarray]] = {1: [], size: []}
    for ranks in batches:
        for rank in range(ranks):
            shards = own_shards(rank, ranks, num_shards)
            starts = np.concatenate([[0], np.cumsum(plan.shard_sizes[list(shards)])])[:-1]
            offset = plan.shard_sizes[: shards.start].sum()  # into the rows of all ranks
            order = plan.order(epoch, shards, starts)
            assert order.shape == (plan.num_steps, len(shards) * plan.rows_per_shard_step)
            assert order.dtype == np.int32
            batches[ranks].append(order + offset)
    alone, together = (np.concatenate(batches[ranks], axis=1) for ranks in (1, size))
    assert np.array_equal(alone, together)
    assert len(np.unique(together)) == together.size
    assert together.size == num_shards * plan.num_steps * plan.rows_per_shard_step


@given(st.integers(5, 60), st.integers(1, 7), st.integers(0, 3))
def test_left_over_rows_take_turns(size: int, per_step: int, seed: int) -> None:
    plan = EpochPlan(seed, [size], min(per_step, size))
    num_epochs = 40
    times = np.bincount(np.concatenate([plan.shard_order(e, 0) for e in range(num_epochs)]), minlength=size)
    assert times.max() - times.min() <= 1
    assert times.sum() == num_epochs * plan.rows_per_shard


def test_an_epoch_is_a_function_of_seed_epoch_and_shard_alone() -> None:
    plan = EpochPlan(3, [40, 41], 4)
    assert np.array_equal(plan.shard_order(5, 1), EpochPlan(3, [40, 41], 4).shard_order(5, 1))
    for other in (plan.shard_order(6, 1), plan.shard_order(5, 0), EpochPlan(4, [40, 41], 4).shard_order(5, 1)):
        assert not np.array_equal(plan.shard_order(5, 1), other)


def test_a_batch_larger_than_the_table_is_refused_with_the_largest_possible() -> None:
    with pytest.raises(DataError, match="at most 30 rows"):
        EpochPlan(0, [10, 10, 11], 11)
    with pytest.raises(DataError, match="An update takes 4 steps of 3 rows .* at most 6 rows"):
        EpochPlan(0, [10, 10, 11], 3, passes=4)


def test_an_epoch_has_whole_updates() -> None:
    """Steps of one that is not whole would be gradients that no checkpoint holds; their rows take their turn."""
    plan = EpochPlan(0, [40, 41], 4, passes=4)
    assert (plan.num_steps, plan.rows_per_shard) == (8, 32)
    seen = {int(row) for epoch in range(10) for row in plan.shard_order(epoch, 1)}
    assert seen == set(range(41))
