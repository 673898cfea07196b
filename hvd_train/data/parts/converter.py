"""The conversion in parts, as its driver leads it. The rows stay with the workers: the driver reads the labels and the cells
of the split's column alone, and gives each row its shard.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS, SplitConfig, TableConfig
from hvd_train.data.categories.encoding import Encoding
from hvd_train.data.categories.learning import TextCounts
from hvd_train.data.categories.roles import choose_table_columns, layout_of_features
from hvd_train.data.conversion.converter import (
    Assigned,
    Tell,
    assign,
    encoding_of,
    facts_of,
    schema_of,
    source_of,
)
from hvd_train.data.conversion.exactness import joined, require_held
from hvd_train.data.conversion.notes import notes
from hvd_train.data.conversion.shard_files import ShardAssignment
from hvd_train.data.conversion.spill import BLOCK_BYTES, LabelFiles, Spill
from hvd_train.data.conversion.writing import OTHER_PLACE, new_directory, npy_bytes, write_metadata
from hvd_train.data.dataset import METADATA
from hvd_train.data.metadata import LABEL_COUNTS
from hvd_train.data.parts.blocks import LEFT_OUT, ROW, ROWS, Block, Layout, Shard, count_texts, join_shards, write_block
from hvd_train.data.parts.rows import SPILL, Part, PartSpec, read_cells
from hvd_train.data.parts.store import Store, is_url
from hvd_train.data.parts.texts import all_texts, codes_among
from hvd_train.data.schema import Columns
from hvd_train.data.sources.arrow import ArrowTable
from hvd_train.data.statistics import RunningStatistics
from hvd_train.errors import DataError

T = TypeVar("T")
U = TypeVar("U")


class Workers(ABC):
    """What a conversion asks of those who have the rows."""

    @abstractmethod
    def write_parts(self, spec: PartSpec) -> list[Part]:
        """Call `write_part` for each part of the rows. Together, in the order of their indices, they are the table."""

    @abstractmethod
    def map(self, function: Callable[[T], U], items: Sequence[T], *, what: str) -> list[U]:
        """`function` of each item, on the workers. It may be called more than once for an item."""


def convert_in_parts(
    table: ArrowTable,
    widths: tuple[tuple[str, int | None], ...],
    out: str | Path,
    config: TableConfig,
    split: SplitConfig,
    workers: Workers,
    *,
    force: bool = False,
    num_tasks: int = 8,
    report: Tell | None = None,
) -> None:
    """Convert a table whose rows the workers have into the dataset directory `out`, which all of them reach.

    `widths` are the columns as they come, see `PartSpec`; `num_tasks` is among how many tasks the work is divided.
    Raises DataError as `convert` does; then nothing is left in `out`.
    """
    columns = choose_table_columns(table, config, split)
    table.check_types(columns)
    started = time.perf_counter()
    with _new_place(out, force=force) as root:
        store = Store(root)
        for name in (SPILL, *SPLITS):
            store.make_folder(name)
        spec = PartSpec(root, str(table.path), table.schema, widths, table.table_format, columns)
        parts = [part for part in sorted(workers.write_parts(spec), key=lambda part: part.index) if part.num_rows]
        _require_good(table, columns, parts)
        with tempfile.TemporaryDirectory(prefix="hvd_train-") as scratch:
            spill = _read_labels(table, columns, config, store, parts, Path(scratch))
            assigned = assign(spill, split)
            texts = all_texts(table, columns, parts)
            plan = Layout(
                root=root,
                encoding=Encoding(len(columns.features), {}),
                label_kind=spill.labels.kind,
                num_shards=assigned.num_shards,
                num_outputs=len(spill.labels.values),
                parts=tuple((part.stem, part.num_rows) for part in parts),
                codes=tuple(codes_among(texts, part) for part in parts),
            )
            if texts:
                plan = replace(
                    plan, encoding=_learned(store, plan, spill, columns, assigned, texts, workers, split.seed)
                )
            schema = schema_of(spill, columns, plan.encoding, layout_of_features(table, plan.num_features, config))
            cuts = _write_rows(store, spill, assigned, split.seed, width=plan.num_features)
            blocks = workers.map(partial(_block, plan), list(enumerate(pairwise(cuts))), what="sorts the rows by shard")
            statistics = RunningStatistics(schema.num_features)
            numbers = blocks[0].row_numbers
            for block in blocks:
                statistics.merge(block.statistics)
            for block in blocks[1:]:
                numbers.append(block.row_numbers)
            spill.row_numbers = numbers.result()
            metadata = facts_of(spill, schema, assigned, statistics)
        metadata |= _join(store, plan, blocks, workers, num_tasks)
        remarks = [*table.remarks, *columns.remarks]
        num_bytes = sum(part.num_bytes for part in parts)
        metadata["source"] = source_of(table, num_bytes, time.perf_counter() - started, remarks)
        store.remove_folder(SPILL)
        _write_metadata(store, root, metadata)
    if report is not None:
        for line in notes(metadata):
            report(line)


@contextmanager
def _new_place(out: str | Path, *, force: bool) -> Iterator[str]:
    """The folder to write to. On a file system it becomes `out` at the end; elsewhere metadata.json comes last."""
    if not is_url(out):
        with new_directory(Path(out), force=force, way_out=OTHER_PLACE) as directory:
            yield str(directory)
        return
    store = Store(str(out))
    if store.has(METADATA):
        if not force:
            raise DataError(f"{out}: there is a dataset already. Give another name.")
        store.remove_folder("")
    try:
        yield str(out).rstrip("/")
    except BaseException:
        store.remove_folder(SPILL)
        raise


def _require_good(table: ArrowTable, columns: Columns, parts: list[Part]) -> None:
    if not parts:
        raise DataError(f"{table.path}: it holds no rows.")
    start = 0
    for part in parts:
        if part.refused is not None:
            raise DataError(part.refused)
        if part.problem is not None:
            row, column, problem = part.problem
            raise table.row_error(start + row, column, problem)
        start += part.num_rows
    extremes = parts[0].extremes
    for part in parts[1:]:
        extremes = joined(extremes, part.extremes)
    require_held(table.path, columns.feature_names, extremes, what="column")


def _read_labels(
    table: ArrowTable, columns: Columns, config: TableConfig, store: Store, parts: list[Part], scratch: Path
) -> Spill:
    """The labels and keys of all rows, checked and decided upon as those of a file: eight and four bytes a row on disk."""
    with LabelFiles(table, columns, config, scratch) as files:
        for part in parts:
            keys = iter(read_cells(store, f"{part.stem}.keys"))
            for labels in read_cells(store, f"{part.stem}.labels"):
                files.add(labels, None if columns.key is None else next(keys))
    return files.spill(row_numbers=())


def _learned(
    store: Store,
    plan: Layout,
    spill: Spill,
    columns: Columns,
    assigned: Assigned,
    texts: Mapping[int, tuple[str, ...]],
    workers: Workers,
    seed: int,
) -> Encoding:
    """What the columns of texts become, by the rows of train that the workers count."""
    sizes = {position: len(some) for position, some in texts.items()}
    cuts = _write_rows(store, spill, assigned, seed, width=spill.num_features)
    counts = TextCounts(sizes)
    for found in workers.map(partial(_count, plan, sizes), list(pairwise(cuts)), what="counts the texts of train"):
        counts.merge(found)
    return encoding_of(spill.table.path, columns, texts, counts)


def _count(plan: Layout, sizes: Mapping[int, int], ends: tuple[int, int]) -> TextCounts:
    return count_texts(plan, sizes, *ends)


def _write_rows(store: Store, spill: Spill, assigned: Assigned, seed: int, *, width: int) -> list[int]:
    """Write what is decided about each row; where the blocks begin and end that a conversion on one machine has.

    `width`: the columns that a row becomes.
    """
    assignments = [ShardAssignment(seed, i, int(count), assigned.num_shards) for i, count in enumerate(assigned.counts)]
    size = max(1, BLOCK_BYTES // (4 * max(width, spill.num_features)))
    cuts = [0]
    with store.write(ROWS) as file, (spill.directory / "labels").open("rb") as labels:
        for start in range(0, spill.num_rows, size):
            stop = min(start + size, spill.num_rows)
            end = (
                int(spill.source_rows(stop - 1, stop)[0]) + 1 if stop < spill.num_rows else len(spill.unlabelled) + stop
            )
            rows = np.full(end - cuts[-1], np.array((LEFT_OUT, 0), ROW))
            encoded = spill.labels.encode(np.fromfile(labels, np.float64, stop - start))
            splits, target = assigned.splits[start:stop], np.empty(stop - start, np.int64)
            for split, assignment in enumerate(assignments):
                of_split = np.flatnonzero(splits == split)
                target[of_split] = assignment.next(len(of_split)) + split * assigned.num_shards
            places = spill.source_rows(start, stop) - cuts[-1]
            rows["target"][places] = target
            rows["label"][places] = encoded.view(np.int32)
            file.write(rows.tobytes())
            cuts.append(end)
    return cuts


def _block(plan: Layout, item: tuple[int, tuple[int, int]]) -> Block:
    index, (start, stop) = item
    return write_block(plan, index, start, stop)


def _shards(plan: Layout, blocks: Sequence[tuple[str, NDArray[np.int64]]], ends: tuple[int, int]) -> list[Shard]:
    return join_shards(plan, blocks, *ends)


def _join(store: Store, plan: Layout, blocks: Sequence[Block], workers: Workers, num_tasks: int) -> dict[str, Any]:
    """Join the shards; what metadata.json says about the files."""
    num_targets = len(SPLITS) * plan.num_shards
    ends = np.unique(np.linspace(0, num_targets, min(num_tasks, num_targets) + 1).astype(int)).tolist()
    named = [(block.name, block.counts) for block in blocks]
    joined_shards = workers.map(partial(_shards, plan, named), list(pairwise(ends)), what="writes the virtual shards")
    shards = sorted((shard for some in joined_shards for shard in some), key=lambda shard: shard.target)
    by_split = np.stack([shard.label_counts for shard in shards]).reshape(len(SPLITS), plan.num_shards, -1)
    sizes = np.array([shard.num_rows for shard in shards]).reshape(len(SPLITS), plan.num_shards)
    files = {plan.file_of(shard.target): shard.facts for shard in shards}
    if plan.num_outputs:
        data = npy_bytes(by_split[0].astype(np.int32))
        with store.write(LABEL_COUNTS) as file:
            file.write(data)
        files[LABEL_COUNTS] = facts_of_bytes(data)
    splits = {
        split: {
            "num_rows": int(sizes[i].sum()),
            "shard_sizes": sizes[i].tolist(),
            "label_counts": by_split[i].sum(0).tolist(),
        }
        for i, split in enumerate(SPLITS)
    }
    return {"splits": splits, "files": files}


def facts_of_bytes(data: bytes) -> dict[str, Any]:
    """What metadata.json says about a file with this content."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write_metadata(store: Store, root: str, metadata: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="hvd_train-") as scratch:
        write_metadata(Path(scratch), json.loads(json.dumps(metadata)))
        with store.write(METADATA) as file:
            file.write((Path(scratch) / METADATA).read_bytes())
