"""Rows that lie on a device, with a CPU as the device: the same run, bit for bit, and the host's pipeline yields numbers alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from resuming import common_run_dir

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.training import loop
from hvd_train.training.on_device import resident_rows
from hvd_train.training.run import train_and_evaluate

SHORT = recipes.DEBUG.replace(
    table={"num_songs": 2000},
    split={"num_virtual_shards": 60},
    sampling={"balance": "inverse"},  # batches with weights
    training={"num_epochs": 2, "global_batch_size": 120},
)


def test_a_run_whose_rows_lie_on_a_device_is_the_same(
    world: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if 60 % world.size:
        pytest.skip("60 virtual shards are not shared evenly by this number of ranks")
    from_host = train_and_evaluate(SHORT, world, common_run_dir(world, tmp_path_factory))
    seen: list[Any] = []
    plain = loop.epochs_dataset

    def noted(*arguments: Any, **options: Any) -> Any:
        dataset = plain(*arguments, **options)
        seen.append(dataset.element_spec)
        return dataset

    monkeypatch.setattr(loop, "epochs_dataset", noted)
    monkeypatch.setattr(loop, "device_for", lambda *_, **__: "/CPU:0")
    resident = train_and_evaluate(SHORT, world, common_run_dir(world, tmp_path_factory))
    assert [(spec.shape, spec.dtype) for spec in seen] == [((120 // world.size,), tf.int32)]
    assert resident.metrics == from_host.metrics
    losses = [[{k: v for k, v in e.items() if "loss" in k} for e in r.history] for r in (from_host, resident)]
    assert losses[0]
    assert losses[0] == losses[1]


def test_where_rows_may_lie() -> None:
    rows = SimpleNamespace(features=np.zeros((1000, 90), np.float32), labels=np.zeros(1000, np.int64))

    def device(gpu: str | None, memory_mb: int | None, *, augmentation: Any = None, has_workers: bool = False) -> Any:
        of_rank = SimpleNamespace(gpu=gpu, gpu_memory_mb=memory_mb)
        return resident_rows.device_for(
            of_rank, SimpleNamespace(rows=rows, augmentation=augmentation), has_workers=has_workers
        )

    assert device("/physical_device:GPU:3", 1000) == "/GPU:0"
    assert device(None, None) is None
    assert device("/physical_device:GPU:0", None) is None  # how much it has is unknown
    assert device("/physical_device:GPU:0", 1) is None  # 368,000 bytes are more than a quarter of it
    assert device("/physical_device:GPU:0", 2) == "/GPU:0"
    assert device("/physical_device:GPU:0", 1000, augmentation=object()) is None
    assert device("/physical_device:GPU:0", 1000, has_workers=True) is None
