"""ShardFiles: assigns rows to the files of the virtual shards, in one pass and without remembering rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS
from hvd_train.data.conversion.writing import FileWriter, npy_bytes, npy_header
from hvd_train.data.dataset import record_dtype, shard_file
from hvd_train.data.plan import generator
from hvd_train.data.schema import Schema

_ASSIGNMENT_STREAM = 12


class ShardFiles:
    """Assigns rows to the files of the virtual shards, split by split.

    Every V consecutive rows of a split go to V different shards, in an order drawn from the seed: sizes differ by at
    most one, neighbours (songs of one artist) are spread, and nothing has to be remembered but the current V.
    """

    def __init__(self, directory: Path, schema: Schema, counts: NDArray[np.int64], num_shards: int, seed: int) -> None:
        self.schema, self.num_shards = schema, num_shards
        self.dtype = record_dtype(schema.num_features, schema.label_kind)
        self.directory = directory
        self._assignments = [ShardAssignment(seed, i, int(count), num_shards) for i, count in enumerate(counts)]
        self.sizes = np.stack([assignment.sizes() for assignment in self._assignments])
        self._files = []
        for split, sizes in zip(SPLITS, self.sizes, strict=True):
            for shard, size in enumerate(sizes):
                file = FileWriter(directory, shard_file(split, shard))
                file.write(npy_header(self.dtype, int(size)))
                self._files.append(file)
        num_outputs = len(schema.label_values)
        self._label_counts = np.zeros((len(SPLITS) * num_shards, num_outputs), np.int64)

    def add(
        self, features: NDArray[np.float32], labels: NDArray[Any], splits: NDArray[np.uint8], rows: NDArray[np.int64]
    ) -> None:
        """Write the next rows; `rows` are their numbers in the table."""
        target = np.empty(len(features), np.int64)
        for split, assignment in enumerate(self._assignments):
            of_split = np.flatnonzero(splits == split)
            target[of_split] = assignment.next(len(of_split)) + split * self.num_shards
        order = np.argsort(target, kind="stable")
        records = np.empty(len(features), self.dtype)
        records["features"] = features[order]
        records["label"] = labels[order]
        records["row_id"] = rows[order]
        ends = np.cumsum(np.bincount(target, minlength=len(self._files)))
        begin = 0
        for file, end in zip(self._files, ends, strict=True):
            if end > begin:
                file.write(records[begin:end])
            begin = end
        if self.schema.label_values:
            np.add.at(self._label_counts, (target, labels), 1)

    def finish(self) -> dict[str, Any]:
        """What metadata.json says about the files."""
        by_split = self._label_counts.reshape(len(SPLITS), self.num_shards, -1)
        if self.schema.label_values:
            file = FileWriter(self.directory, "train/label_counts.npy")
            file.write(npy_bytes(by_split[0].astype(np.int32)))
            self._files.append(file)
        splits = {
            split: {
                "num_rows": int(self.sizes[i].sum()),
                "shard_sizes": self.sizes[i].tolist(),
                "label_counts": by_split[i].sum(0).tolist(),
            }
            for i, split in enumerate(SPLITS)
        }
        return {"splits": splits, "files": {file.name: file.facts() for file in self._files}}


class ShardAssignment:
    """Which shard each next row of a split goes to: a permutation of all V shards, again and again."""

    def __init__(self, seed: int, split: int, num_rows: int, num_shards: int) -> None:
        self.num_shards = num_shards
        self._num_whole, self._num_last = divmod(num_rows, num_shards)
        # The last, incomplete one has a stream of its own, so that the sizes are known before any row.
        self._last = generator(seed, _ASSIGNMENT_STREAM, split, 1).permutation(num_shards)[: self._num_last]
        self._generator = generator(seed, _ASSIGNMENT_STREAM, split, 0)
        self._ready = np.empty(0, np.int64)

    def sizes(self) -> NDArray[np.int64]:
        """(V,) rows that each shard will have."""
        return self._num_whole + np.bincount(self._last, minlength=self.num_shards)

    def next(self, count: int) -> NDArray[np.int64]:
        """(count,) shards of the next rows."""
        missing = max(0, -(-(count - len(self._ready)) // self.num_shards))
        num_whole = min(missing, self._num_whole)
        self._num_whole -= num_whole
        fresh = self._generator.random((num_whole, self.num_shards)).argsort(1).ravel()
        last = self._last if num_whole < missing else np.empty(0, np.int64)
        ready = np.concatenate([self._ready, fresh, last])
        self._ready = ready[count:]
        return ready[:count]
