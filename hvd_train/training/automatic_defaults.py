"""Replaces the automatic defaults of a config by values: global batch size, virtual shards and workers, the path of the table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hvd_train.config import PATIENCES, RunConfig, TrainingConfig, absolute
from hvd_train.data import Dataset
from hvd_train.distributed import World
from hvd_train.training.batch_sizes import BatchSizes, resolve_batch_sizes
from hvd_train.training.local_steps.plan import resolve_workers


def epochs_for(training: TrainingConfig, steps_per_epoch: int) -> int:
    """The number of epochs in which at least `min_steps` steps are taken. Pure.

    >>> [epochs_for(TrainingConfig(num_epochs=100, min_steps=1000), steps) for steps in (1, 7, 50)]
    [1000, 143, 100]
    """
    return max(training.num_epochs, -(-training.min_steps // steps_per_epoch))


def patience_for(patience: float, num_epochs: int) -> int:
    """A number of epochs as it is, and a share of them as the epochs that it is, one at least. Pure.

    >>> [patience_for(patience, 410) for patience in (0, 5, 0.2, 0.001)]
    [0, 5, 82, 1]
    """
    return math.ceil(patience * num_epochs) if 0 < patience < 1 else int(patience)


def resolve_defaults(config: RunConfig, dataset: Dataset, world: World) -> tuple[RunConfig, BatchSizes]:
    """The config with everything chosen, as it is saved, and the batch sizes. Pure."""
    batch_sizes = resolve_batch_sizes(
        config.training,
        size=world.size,
        num_virtual_shards=dataset.num_virtual_shards,
        num_train_rows=dataset.num_rows("train"),
    )
    steps = max(1, dataset.num_rows("train") // batch_sizes.global_batch_size)
    num_epochs = epochs_for(config.training, steps)
    patiences: dict[str, Any] = {key: patience_for(getattr(config.training, key), num_epochs) for key in PATIENCES}
    training = replace(config.training, num_epochs=num_epochs, **patiences)
    if not batch_sizes.follows_size:
        training = replace(training, global_batch_size=batch_sizes.global_batch_size)
    table, test = config.table, config.table.test_path
    table = replace(
        table, path=table.path.resolve() if table.path else None, test_path=test.resolve() if test else None
    )
    split = replace(config.split, num_virtual_shards=dataset.num_virtual_shards)
    evaluation = replace(config.evaluation, metrics=tuple(map(absolute, config.evaluation.metrics)))
    workers = resolve_workers(config.distributed, size=world.size, num_virtual_shards=dataset.num_virtual_shards)
    distributed = replace(config.distributed, virtual_workers=workers)
    config = replace(
        config, training=training, table=table, split=split, evaluation=evaluation, distributed=distributed
    )
    return config, batch_sizes
