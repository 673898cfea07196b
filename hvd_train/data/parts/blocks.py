"""From the spilled parts to virtual shards, by workers: each block of rows is sorted by shard, then each shard is joined."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS
from hvd_train.data.categories.encoding import Encoding
from hvd_train.data.categories.learning import TextCounts
from hvd_train.data.conversion.row_numbers import RowNumbers
from hvd_train.data.conversion.writing import as_bytes, npy_header
from hvd_train.data.dataset import record_dtype, shard_file
from hvd_train.data.parts.rows import SPILL
from hvd_train.data.parts.store import Store, attempt
from hvd_train.data.statistics import RunningStatistics

ROWS = f"{SPILL}/rows"
ROW = np.dtype([("target", "<i4"), ("label", "<i4")])
"""What is decided about each row: the number of its shard, over all splits, or -1; and the bits of its label."""
LEFT_OUT = -1


@dataclass(frozen=True)
class Layout:
    """Where the rows lie and what becomes of them. It travels by pickle."""

    root: str
    encoding: Encoding
    label_kind: str
    num_shards: int
    num_outputs: int
    """0 for values."""
    parts: tuple[tuple[str, int], ...]
    """The stem and the number of rows of each part, in order."""
    codes: tuple[Mapping[int, NDArray[np.int64]], ...]
    """For each part, by position of a feature of texts: the code among all texts of each of the part's own codes."""

    @property
    def num_features(self) -> int:
        return self.encoding.num_features

    def file_of(self, target: int) -> str:
        """The file of a shard that is counted over all splits."""
        return shard_file(SPLITS[target // self.num_shards], target % self.num_shards)


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive rows of the table, sorted by shard in a file of their own."""

    index: int
    name: str
    counts: NDArray[np.int64]
    """(splits * V,) its rows of each shard."""
    statistics: RunningStatistics
    """Of its train rows."""
    row_numbers: RowNumbers


def write_block(layout: Layout, index: int, start: int, stop: int) -> Block:
    """Sort the rows start .. stop - 1 of the table by their shard, and add them up."""
    store = Store(layout.root)
    read, rows, keep = _labelled(store, layout, start, stop)
    features = layout.encoding.apply(read)
    dtype = record_dtype(layout.num_features, layout.label_kind)
    target = rows["target"]
    order = np.argsort(target, kind="stable")
    records = np.empty(len(rows), dtype)
    records["features"] = features[order]
    records["label"] = rows["label"].view(dtype["label"])[order]
    records["row_id"] = (keep + start)[order]
    name = f"{SPILL}/block-{index:06d}-{attempt()}"
    with store.write(name) as file:
        file.write(as_bytes(records))
    statistics, numbers = RunningStatistics(layout.num_features), RowNumbers(layout.encoding.num_inputs)
    statistics.add(features[target < layout.num_shards])
    numbers.add(read)
    counts = np.bincount(target, minlength=len(SPLITS) * layout.num_shards)
    return Block(index, name, counts, statistics, numbers)


def count_texts(layout: Layout, num_texts: Mapping[int, int], start: int, stop: int) -> TextCounts:
    """How often each text stands in the train rows among the rows start .. stop - 1 of the table."""
    read, rows, _ = _labelled(Store(layout.root), layout, start, stop)
    counts = TextCounts(num_texts)
    counts.add(read[rows["target"] < layout.num_shards])
    return counts


def _labelled(
    store: Store, layout: Layout, start: int, stop: int
) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.int64]]:
    """Of the rows start .. stop - 1 those with a label: as they were read, what is decided about them, and which they are."""
    read = _read(store, layout, start, stop)
    rows = np.frombuffer(store.read(ROWS, start * ROW.itemsize, (stop - start) * ROW.itemsize), ROW)
    keep = np.flatnonzero(rows["target"] != LEFT_OUT)
    return (read, rows, keep) if len(keep) == len(rows) else (read[keep], rows[keep], keep)


def _read(store: Store, layout: Layout, start: int, stop: int) -> NDArray[np.float32]:
    """(n, S) rows as they were read, with the codes of all texts of the table."""
    width = 4 * layout.encoding.num_inputs
    found, begin = [], 0
    for (stem, num_rows), codes in zip(layout.parts, layout.codes, strict=True):
        first, last = max(start, begin), min(stop, begin + num_rows)
        if first < last:
            data = store.read(f"{stem}.features", (first - begin) * width, (last - first) * width)
            rows = np.frombuffer(data, np.float32).reshape(last - first, -1)
            found.append(_recoded(rows, codes) if codes else rows)
        begin += num_rows
    return found[0] if len(found) == 1 else np.concatenate(found)


def _recoded(rows: NDArray[np.float32], codes: Mapping[int, NDArray[np.int64]]) -> NDArray[np.float32]:
    rows = rows.copy()
    for position, table in codes.items():
        present = ~np.isnan(rows[:, position])
        rows[present, position] = table[rows[present, position].astype(np.int64)]
    return rows


@dataclass(frozen=True, eq=False)
class Shard:
    """A file of a virtual shard that was written."""

    target: int
    num_rows: int
    facts: dict[str, Any]
    label_counts: NDArray[np.int64]


def join_shards(layout: Layout, blocks: Sequence[tuple[str, NDArray[np.int64]]], first: int, last: int) -> list[Shard]:
    """Write the shards first .. last - 1 (counted over all splits) from the blocks: their names and counts, in order."""
    store = Store(layout.root)
    dtype = record_dtype(layout.num_features, layout.label_kind)
    counts = np.stack([block_counts for _, block_counts in blocks])
    begins = np.cumsum(counts, axis=1) - counts
    wanted = range(first, last)
    names = [layout.file_of(target) for target in wanted]
    temporary = [f"{SPILL}/shard-{target:06d}-{attempt()}" for target in wanted]
    digests = [hashlib.sha256() for _ in wanted]
    sizes = [0 for _ in wanted]
    labels = np.zeros((len(wanted), layout.num_outputs), np.int64)
    with ExitStack() as stack:
        files = [stack.enter_context(store.write(name)) for name in temporary]

        def write(position: int, data: Any) -> None:
            files[position].write(data)
            digests[position].update(data)
            sizes[position] += len(data)

        for position, target in enumerate(wanted):
            write(position, npy_header(dtype, int(counts[:, target].sum())))
        for row, (name, _) in enumerate(blocks):
            number = int(counts[row, first:last].sum())
            if not number:
                continue
            data = store.read(name, int(begins[row, first]) * dtype.itemsize, number * dtype.itemsize)
            records, begin = np.frombuffer(data, dtype), 0
            for position, target in enumerate(wanted):
                own = records[begin : begin + counts[row, target]]
                begin += len(own)
                if len(own):
                    write(position, as_bytes(own))
                    if layout.num_outputs:
                        labels[position] += np.bincount(own["label"], minlength=layout.num_outputs)
    for name, final in zip(temporary, names, strict=True):
        store.move(name, final)
    return [
        Shard(
            target,
            int(counts[:, target].sum()),
            {"bytes": sizes[i], "sha256": digests[i].hexdigest()},
            labels[i],
        )
        for i, target in enumerate(wanted)
    ]
