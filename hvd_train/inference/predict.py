"""A finished run on new rows: a prediction for every row of a table, as a file or as columns.

The ranks predict block after block, and the root writes each round of blocks before the next one begins. So the memory
does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from hvd_train.data import ShowProgress
from hvd_train.distributed import World
from hvd_train.inference.export import Trained
from hvd_train.inference.own_blocks import own_blocks
from hvd_train.inference.prediction_files import Sink, encoded, kind_of, open_sink
from hvd_train.inference.prediction_rows import columns, prediction_columns
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
    progress: ShowProgress | None = None,
) -> int:
    """Write a line for every row of the table, in its order; returns the number of rows. All ranks; the root writes.

    A name that ends with .parquet makes a Parquet file, "-" is the standard output, all else is CSV. `quote_formulas`: a
    class whose name a spreadsheet would run gets an apostrophe before it. `progress` gets the bytes of the table that this
    rank has read, and all of them.
    """
    infer, spec, kind = forward_pass(trained.model), trained.output_spec, kind_of(out)
    label_values = trained.schema.label_values
    if quote_formulas:
        label_values = without_formulas(label_values)

    def own() -> Iterator[tuple[int, Any]]:
        blocks = own_blocks(
            path, trained, world, overrides, with_labels=False, on_message=on_message, progress=progress
        )
        for _, block in blocks:
            found = prediction_columns(spec, label_values, infer(block.features))
            yield len(block.features), encoded(found, kind)

    sink: Sink | None = None
    num_rows = 0
    waiting: list[tuple[int, Any]] = []
    with ExitStack() as stack:

        def write() -> None:
            nonlocal sink
            if sink is None:
                sink = stack.enter_context(open_sink(out, spec))
            for _, block in waiting:
                sink.write(block)

        # The root writes a round while the others predict the next one.
        for blocks in _rounds(world, own, before=write if world.is_root else lambda: None):
            num_rows += sum(count for count, _ in blocks)
            waiting[:] = blocks
        world.together(write, on="root")
        world.together(stack.close, on="root")
    return num_rows


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

    def own() -> Iterator[dict[str, Sequence[Any]]]:
        blocks = own_blocks(path, trained, world, overrides, with_labels=False, on_message=on_message)
        for _, block in blocks:
            yield prediction_columns(spec, label_values, infer(block.features))

    in_order = [block for blocks in _rounds(world, own) for block in blocks]
    return {name: [value for block in in_order for value in block[name]] for name in columns(spec)}


def _rounds(
    world: World, own: Callable[[], Iterator[T]], *, before: Callable[[], None] = lambda: None
) -> Iterator[list[T]]:
    """What `own` gives for this rank's blocks, of all ranks: a block of each rank in a round, in the order of the table.

    All ranks. Each calls `before`, and then predicts its block of the round. A UserError on any rank is raised on all.
    """
    blocks: Iterator[T] | None = None

    def next_block() -> T | None:
        nonlocal blocks
        world.watch.phase("a block of predictions", waits_for_others=False)
        before()
        if blocks is None:
            blocks = own()
        found = next(blocks, None)
        world.watch.phase("the exchange of the results", waits_for_others=True)
        return found

    while True:
        mine = world.together(next_block)
        found = world.allgather(mine) if world.size > 1 else [mine]
        # Block i is that of rank i % size, so whoever has none left is after the last block of the table.
        yield [block for block in found if block is not None]
        if any(block is None for block in found):
            return
