"""Virtual workers: whose they are, and in which order a rank takes their rows."""

from __future__ import annotations

import numpy as np
import pytest

from hvd_train.config import DistributedConfig
from hvd_train.errors import ConfigError
from hvd_train.training.local_steps.plan import WorkerPlan, resolve_workers, worker_plan

LOCAL = DistributedConfig(local_steps=4)


def test_without_local_steps_there_are_none() -> None:
    assert resolve_workers(DistributedConfig(), size=3, num_virtual_shards=64) is None
    assert worker_plan(DistributedConfig(), rank=0, size=2) is None


@pytest.mark.parametrize(("shards", "workers"), [(64, 4), (6, 2), (3, 1)])
def test_by_default_there_are_four_or_what_divides_the_shards(shards: int, workers: int) -> None:
    assert resolve_workers(LOCAL, size=1, num_virtual_shards=shards) == workers


def test_ranks_that_cannot_share_the_workers_are_refused_with_the_nearest_that_can() -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_workers(LOCAL, size=8, num_virtual_shards=64)
    assert str(refused.value) == (
        "8 ranks cannot share 4 virtual workers equally: the number of ranks must divide the number of workers. "
        "Nearest: 4 ranks; or --virtual-workers 8, which is another experiment."
    )
    with pytest.raises(ConfigError, match=r"Nearest: 2 or 4 ranks\.$"):
        resolve_workers(LOCAL, size=3, num_virtual_shards=64)


def test_workers_that_cannot_share_the_shards_are_refused() -> None:
    six = DistributedConfig(local_steps=4, virtual_workers=6)
    with pytest.raises(ConfigError, match=r"virtual_workers = 6 .* Nearest: 4 or 8; or --num-virtual-shards 192"):
        resolve_workers(six, size=2, num_virtual_shards=64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"local_steps": 0}, "local_steps = 0 is not possible"),
        ({"virtual_workers": 4}, "it is for --local-steps above 1"),
        ({"local_steps": 4, "virtual_workers": 0}, "virtual_workers = 0 is not possible"),
        ({"local_steps": 4, "gradient_groups": 2}, "gradient_groups = 2 .* no gradients are sent"),
        ({"local_steps": 4, "backward_passes_per_step": 2}, "backward_passes_per_step = 2"),
        ({"local_steps": 4, "compression": "fp16"}, "compression = 'fp16'"),
    ],
)
def test_impossible_settings_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistributedConfig(**fields)


def test_the_rows_of_a_worker_do_not_depend_on_the_number_of_ranks() -> None:
    """Four workers of two rows a step, eight steps, four in a turn: what each computes, and in which order."""
    whole = np.arange(8 * 8, dtype=np.int32).reshape(8, 8)  # a step's rows of all shards, one shard after another
    rows: dict[int, dict[int, list[list[int]]]] = {}
    for size in (1, 2, 4):
        rows[size] = {}
        for rank in range(size):
            plan = WorkerPlan(4, 4, range(rank * 4 // size, (rank + 1) * 4 // size))
            own = whole[:, rank * 8 // size : (rank + 1) * 8 // size]
            batches = plan.order(own)
            assert batches.shape == (8 * len(plan.own), 2)
            turns = batches.reshape(2, len(plan.own), 4, 2)
            for index, worker in enumerate(plan.own):
                rows[size][worker] = turns[:, index].reshape(8, 2).tolist()
    assert rows[1] == rows[2] == rows[4]
    assert rows[1][3] == whole[:, 6:8].tolist()


@pytest.mark.parametrize(
    ("steps", "wanted", "taken"),
    [(16, None, 16), (256, None, 64), (16, 5, 4), (17, None, 17), (67, None, 1), (16, 100, 16)],
)
def test_an_execution_ends_where_a_turn_ends(steps: int, wanted: int | None, taken: int) -> None:
    assert WorkerPlan(steps, 4, range(4)).steps_per_execution(wanted) == taken
