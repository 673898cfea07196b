"""Opens the dataset of a run: one rank of each host converts the table if need be, and all check that it is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hvd_train.config import RunConfig, SplitConfig
from hvd_train.data import Dataset, prepare
from hvd_train.distributed import World
from hvd_train.errors import DataError
from hvd_train.events import Observer, Watch
from hvd_train.processes import early_end
from hvd_train.training.batch_sizes import shards_for_batch
from hvd_train.training.early_end import NOTHING_TO_SAVE, before_training


def split_in_use(config: RunConfig, world: World) -> SplitConfig:
    """The split of a run, with the virtual shards that a batch size of the user asks for. Pure."""
    wanted = shards_for_batch(config.training, world.size)
    if config.split.num_virtual_shards is None and wanted is not None:
        return replace(config.split, num_virtual_shards=wanted)
    return config.split


def open_dataset(config: RunConfig, world: World, observer: Observer, watch: Watch) -> Dataset:
    """The dataset of a run, which one rank of each host converts if need be. All ranks.

    Raises:
        DataError: alike on every rank, where the data cannot be used, or are not the same on all hosts.
    """
    split = split_in_use(config, world)
    report = observer.on_message if world.is_root else None

    def convert() -> Path:
        return prepare(config.table, split, report=report, progress=progress)

    def progress(done: int, total: int) -> None:
        if world.is_root:
            observer.on_preparation(done, total)
        # Tells the watchdog that the conversion makes progress: a long one is no stall.
        watch.phase("the conversion of the table", waits_for_others=False)
        if reason := early_end.warning:
            raise before_training(reason, NOTHING_TO_SAVE)

    watch.phase("the wait for the data", waits_for_others=True)
    converted = world.together(convert, on="local root")
    watch.phase("the opening of the data", waits_for_others=True)
    by_host = world.allgather((world.placement.host, converted))
    directories = {host: directory for host, directory in by_host if directory is not None}
    dataset = world.together(lambda: Dataset.open(directories[world.placement.host]))
    assert dataset is not None
    checksums = world.allgather((dataset.checksum, world.placement.host))
    others = sorted({host for checksum, host in checksums if checksum != checksums[0][0]})
    if others:
        raise DataError(
            f"The data on {', '.join(others)} is not the data on {checksums[0][1]} (checksums differ). "
            f"Copy the same file, or the converted dataset directory, to every host."
        )
    return dataset
