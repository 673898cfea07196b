"""The global batch is given, the local one follows; what does not divide is refused with the nearest that does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.config import TrainingConfig, recipes
from hvd_train.data import default_num_virtual_shards
from hvd_train.errors import ConfigError
from hvd_train.training.automatic_defaults import epochs_for
from hvd_train.training.batch_sizes import default_global_batch_size, resolve_batch_sizes, shards_for_batch


def plan(size: int, *, shards: int = 64, rows: int = 100_000, **training: int):
    return resolve_batch_sizes(TrainingConfig(**training), size=size, num_virtual_shards=shards, num_train_rows=rows)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 64])
def test_the_global_batch_does_not_depend_on_the_number_of_ranks(size: int) -> None:
    batches = plan(size, global_batch_size=256)
    assert (batches.global_batch_size, batches.local_batch_size) == (256, 256 // size)
    assert (batches.rows_per_shard_step, batches.follows_size) == (4, False)
    assert plan(size).global_batch_size == plan(1).global_batch_size


def test_a_given_local_batch_makes_the_global_one_grow() -> None:
    batches = plan(4, local_batch_size=32)
    assert (batches.global_batch_size, batches.local_batch_size, batches.follows_size) == (128, 32, True)


@pytest.mark.parametrize(
    ("arguments", "ways_out"),
    [
        ({"size": 3}, ["3 ranks", "2 or 4 ranks", "--num-virtual-shards 48"]),
        ({"size": 128}, ["Nearest: 64 ranks"]),
        ({"size": 1, "global_batch_size": 100}, ["64 or 128", "--num-virtual-shards 4"]),
        ({"size": 2, "local_batch_size": 100}, ["96 or 128"]),
        ({"size": 1, "global_batch_size": 1024, "rows": 800}, ["largest batch here is 768"]),
        ({"size": 1, "rows": 40}, ["40 rows, fewer than its 64 virtual shards"]),
    ],
)
def test_what_does_not_divide_is_refused_with_the_nearest_that_does(
    arguments: dict[str, int], ways_out: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        plan(**arguments)
    for text in ways_out:
        assert text in str(raised.value)


def test_the_way_out_is_one() -> None:
    """Following the message's own advice works."""
    assert plan(3, shards=48, global_batch_size=96).local_batch_size == 32
    assert plan(1, shards=4, global_batch_size=100).rows_per_shard_step == 25


@given(rows=st.integers(2, 2000), size=st.sampled_from([1, 2, 4]))
def test_a_table_of_any_size_has_a_default_batch_and_shards_that_fit(rows: int, size: int) -> None:
    """Nothing was asked for, so nothing can be asked for in vain: from two train rows on, and from eight on four ranks."""
    shards = default_num_virtual_shards(rows)
    if rows >= 2 * size:
        batches = plan(size, shards=shards, rows=rows)
        assert batches.global_batch_size <= rows
        assert batches.rows_per_shard_step >= 1


@pytest.mark.parametrize(("size", "rows"), [(3, 10), (5, 10), (3, 2000), (7, 45), (64, 64)])
def test_the_hint_of_other_shards_can_be_followed(size: int, rows: int) -> None:
    """Regression: 48 virtual shards were advised to a table of 10 rows."""
    with pytest.raises(ConfigError) as raised:
        plan(size, shards=default_num_virtual_shards(rows) if size < 64 else 32, rows=rows)
    found = re.search(r"--num-virtual-shards (\d+)", str(raised.value))
    assert found
    assert plan(size, shards=int(found[1]), rows=rows).local_batch_size >= 1


def test_no_shards_are_advised_where_there_are_fewer_rows_than_ranks() -> None:
    with pytest.raises(ConfigError) as raised:
        plan(12, shards=4, rows=10)
    assert "Nearest: 4 ranks." in str(raised.value)
    assert "--num-virtual-shards" not in str(raised.value)


@given(rows=st.integers(1, 10**7), shards=st.sampled_from([1, 2, 4, 8, 16, 32, 64, 48, 100]))
def test_the_default_batch_always_fits_the_shards(rows: int, shards: int) -> None:
    size = default_global_batch_size(rows, shards)
    assert size % shards == 0
    assert shards <= size <= max(512, shards)


@pytest.mark.parametrize(
    ("rows", "size"),
    [(300, 32), (800, 64), (4_096, 64), (8_192, 128), (16_384, 256), (32_768, 512), (100_000, 512), (500_000, 512)],
)
def test_the_default_batch_by_the_number_of_rows(rows: int, size: int) -> None:
    """The table of docs/how-to/choose-a-network.md."""
    assert default_global_batch_size(rows, default_num_virtual_shards(rows)) == size


@pytest.mark.parametrize(
    ("rows", "epochs"), [(300, 500), (800, 375), (8_191, 50), (8_192, 71), (16_384, 71), (32_768, 71), (500_000, 50)]
)
def test_the_epochs_of_the_recipe_for_tables_by_the_number_of_rows(rows: int, epochs: int) -> None:
    """The same table: a small table gets as many epochs as 4,500 steps need."""
    steps = rows // default_global_batch_size(rows, default_num_virtual_shards(rows))
    assert epochs_for(recipes.recipe("table").training, steps) == epochs


@given(global_batch_size=st.integers(1, 10**6))
def test_a_given_batch_is_divided_by_the_shards_chosen_for_it(global_batch_size: int) -> None:
    shards = shards_for_batch(TrainingConfig(global_batch_size=global_batch_size), size=1)
    assert shards is not None
    assert global_batch_size % shards == 0
    assert shards <= 64
    assert shards & (shards - 1) == 0


def test_shards_for_no_batch_and_for_a_local_one() -> None:
    assert shards_for_batch(TrainingConfig(), size=4) is None
    assert shards_for_batch(TrainingConfig(local_batch_size=12), size=4) == 16
