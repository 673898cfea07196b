"""All train rows of a rank in its GPU's memory, where they fit: then a step gets the numbers of its rows, and no row travels.

With 515,345 songs of 90 features that is 180 MB. Batches are the same as from the host. Rows that are augmented are made in
the host's memory, batch by batch, and go on doing so. Tried with a CPU as the device: there was no GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from hvd_train.distributed import World
from hvd_train.training.input_pipeline import TrainRows, batch_of

# Of the GPU's memory, for the rows of one rank: the rest is for the network, and for ranks that share the GPU.
LARGEST_SHARE = 0.25
GPU = "/GPU:0"  # the only one that the rank sees


def device_for(world: World, train: TrainRows, *, has_workers: bool) -> str | None:
    """The device for these rows, None where they stay on the host. Each rank by itself: nothing depends on the others."""
    if world.gpu is None or has_workers or train.augmentation is not None:
        return None
    return GPU if fits(train.rows.features.nbytes + train.rows.labels.nbytes, world.gpu_memory_mb) else None


def fits(num_bytes: int, memory_mb: int | None) -> bool:
    """Whether rows of so many bytes may lie in a GPU of so much memory; not where that is unknown."""
    return memory_mb is not None and num_bytes <= LARGEST_SHARE * memory_mb * 2**20


@contextlib.contextmanager
def gathering_on(device: str | None, trained: Any, train: TrainRows) -> Iterator[None]:
    """In this block a step of the Keras model `trained` takes positions (B,) and gathers its batch on `device`.

    With None nothing changes. The step is traced again before and after.
    """
    if device is None:
        yield
        return
    plain = trained.train_step
    with tf.device(device):
        batch = batch_of(train)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def train_step(positions_B: Any) -> Any:
        with tf.device(device):
            gathered = batch(positions_B)
        return plain(gathered)

    trained.train_step, trained.train_function = train_step, None
    try:
        yield
    finally:
        del trained.train_step
        trained.train_function = None
