"""What the Python functions take as a table: a path, a dataset, a DataFrame or arrays."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from hvd_train.config import RunConfig, TableConfig
from hvd_train.data import Dataset, in_cache
from hvd_train.distributed import World
from hvd_train.errors import ConfigError


def with_table(config: RunConfig, data: Any, *, label: str | None, labels: Any, world: World) -> RunConfig:
    """`config` with the table that was given, which is written to the cache if it is in memory. All ranks."""
    table = config.table if label is None else dataclasses.replace(config.table, label=label)
    return dataclasses.replace(config, table=table_of(data, labels, table=table, world=world))


def table_of(data: Any, labels: Any, *, table: TableConfig, world: World) -> TableConfig:
    """`table` with the path of `data`; as it is where `data` is None. All ranks."""
    if labels is not None and (data is None or isinstance(data, str | os.PathLike | Dataset)):
        raise ConfigError(
            "labels are for data in memory. The labels of a file are one of its columns: name it by label."
        )
    if data is None:
        return table
    if isinstance(data, str | os.PathLike):
        return dataclasses.replace(table, path=Path(data))
    if isinstance(data, Dataset):
        return dataclasses.replace(table, path=data.directory)
    stored = world.together(lambda: in_cache(data, labels, table=table))
    assert stored is not None
    return stored
