"""A rank's share of a table of new rows: block i is read by rank i % size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hvd_train.data import NewRows, ShowProgress, read_table_for_prediction
from hvd_train.distributed import World
from hvd_train.inference.export import Trained


def own_blocks(
    path: Path,
    trained: Trained,
    world: World,
    overrides: Mapping[str, Any],
    *,
    with_labels: bool,
    on_message: Callable[[str], None],
    progress: ShowProgress | None = None,
) -> Iterator[tuple[int, NewRows]]:
    """This rank's blocks of the table, with their numbers; `on_message` gets notes on how the table is read.

    `overrides` are the fields of `TableFormat` in which the table is not written as the run's own was. Says to the watch
    where it is.
    """
    blocks = read_table_for_prediction(
        path,
        trained.schema,
        trained.table_format,
        given=overrides,
        with_labels=with_labels,
        report=on_message,
        progress=progress,
    )
    for index, block in enumerate(blocks):
        world.watch.phase(f"block {index + 1} of the table", waits_for_others=False)
        if index % world.size == world.rank:
            yield index, block
    world.watch.phase("the exchange of the results", waits_for_others=True)
