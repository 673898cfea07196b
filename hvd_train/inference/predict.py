"""A finished run on new rows: a prediction for every row of a table, as a file or as columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hvd_train.distributed import World
from hvd_train.files import write_atomically
from hvd_train.inference.export import Trained
from hvd_train.inference.own_blocks import own_blocks
from hvd_train.inference.prediction_rows import columns, prediction_columns, predictions
from hvd_train.models import forward_pass
from hvd_train.text import without_formulas

T = TypeVar("T")


def predict_table(
    trained: Trained,
    world: World,
    path: Path,
    out: Path,
    *,
    overrides: Mapping[str, Any],
    quote_formulas: bool = False,
    on_message: Callable[[str], None] = lambda _: None,
) -> int:
    """Write a line for every row of the table, in its order; returns the number of rows. All ranks; the root writes.

    `quote_formulas`: a class whose name a spreadsheet would run gets an apostrophe before it.
    """
    infer = forward_pass(trained.model)
    label_values = trained.schema.label_values
    if quote_formulas:
        label_values = without_formulas(label_values)

    def own() -> list[list[tuple[Any, ...]]]:
        blocks = own_blocks(path, trained, world, overrides, with_labels=False, on_message=on_message)
        return [predictions(trained.output_spec, label_values, infer(block.features)) for _, block in blocks]

    in_order = _gathered(world, own)

    def write() -> int:
        text = _Lines()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns(trained.output_spec))
        for block in in_order:
            writer.writerows(block)
        write_atomically(out, lambda file: file.writelines(text.lines))
        return sum(map(len, in_order))

    return world.together(write, on="root") or 0


def predict_columns(
    trained: Trained,
    world: World,
    path: Path,
    *,
    overrides: Mapping[str, Any],
    on_message: Callable[[str], None] = lambda _: None,
) -> dict[str, Sequence[Any]]:
    """The predictions for all rows of the table by column, in its order. All ranks, and each gets all of them.

    The columns are those of `prediction_rows.columns`.
    """
    infer, spec, label_values = forward_pass(trained.model), trained.output_spec, trained.schema.label_values

    def own() -> list[dict[str, Sequence[Any]]]:
        blocks = own_blocks(path, trained, world, overrides, with_labels=False, on_message=on_message)
        return [prediction_columns(spec, label_values, infer(block.features)) for _, block in blocks]

    in_order = _gathered(world, own)
    return {name: [value for block in in_order for value in block[name]] for name in columns(spec)}


def _gathered(world: World, own: Callable[[], list[T]]) -> list[T]:
    """What `own` gives for the blocks of each rank, of all ranks, in the order of the table. All ranks."""
    by_rank = world.allgather(world.together(own))
    num_rounds = max(len(blocks or []) for blocks in by_rank)
    return [blocks[r] for r in range(num_rounds) for blocks in by_rank if blocks and r < len(blocks)]


class _Lines:
    """A text file for csv.writer that keeps encoded lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, text: str) -> None:
        self.lines.append(text.encode())
