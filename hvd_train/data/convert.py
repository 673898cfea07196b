"""From a table to a dataset directory, in one pass over the table and bounded memory.

The table's rows go to a spill file as they are read, since the split and the labels are known only at its end; then
from there, again in blocks, each to the file of its virtual shard. Resident are one block, one byte a row for the
split, and the names of groups; not the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hvd_train
from hvd_train.config import SPLITS, DataConfig
from hvd_train.data.dataset import CONVERSION_VERSION, FORMAT, Dataset
from hvd_train.data.dealing import ShardFiles
from hvd_train.data.labels import LabelReader, Labels
from hvd_train.data.notes import notes
from hvd_train.data.schema import Columns, Schema, choose_columns, choose_layout
from hvd_train.data.sharding import default_num_virtual_shards
from hvd_train.data.sources import Table, TableFormat, open_table
from hvd_train.data.sources.csv import as_numpy
from hvd_train.data.splits import SplitInput, assign_splits, chosen_method
from hvd_train.data.statistics import RunningStatistics
from hvd_train.data.writing import new_directory, write_metadata, write_whole
from hvd_train.errors import DataError

Report = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with the bytes of the table read so far, and all of them."""

BLOCK_BYTES = 16 << 20


def convert(
    source: Path,
    out: Path,
    config: DataConfig,
    *,
    force: bool = False,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Path:
    """Convert the table `source` into the dataset directory `out`. Raises DataError; then `out` is as it was."""
    table = open_table(source, TableFormat.of(config))
    return convert_table(table, out, config, force=force, report=report, progress=progress)


def convert_table(
    table: Table,
    out: Path,
    config: DataConfig,
    *,
    force: bool = False,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Path:
    """Convert an open table, as `convert` does."""
    columns = choose_columns(table.columns, config, path=table.path)
    layout = choose_layout(len(columns.features), config, path=table.path, known=table.layout)
    before = table.stamp()
    with new_directory(out, force=force) as directory:
        started = time.perf_counter()
        spill = read_into_spill(table, columns, config, directory, progress)
        if table.stamp() != before:
            raise DataError(f"{table.path}: the file was changed while it was read. Convert it again.")
        schema = Schema(
            feature_names=columns.feature_names,
            label_name=table.columns[spill.label_column],
            label_kind=spill.labels.kind,
            label_values=spill.labels.values,
            layout=layout,
            source_columns=table.columns,
            is_songs=spill.is_songs,
            feature_kinds=table.feature_kinds(columns),
        )
        metadata = write_dataset(directory, spill, schema, config)
        metadata["source"] = {
            "name": table.path.name,
            "bytes": before[0],
            "seconds": round(time.perf_counter() - started, 3),
            "hvd_train": hvd_train.__version__,
            # Outside the checksum: the same rows are the same data however they were written down.
            "table_format": table.table_format.to_json(),
            "remarks": list(table.remarks),
        }
        spill.remove()
        unfinished = Dataset(directory, metadata | {"checksum": ""})
        metadata |= table.facts(lambda split: unfinished.features_and_labels(split))
        write_metadata(directory, metadata)
    if report is not None:
        for line in [*notes(metadata), *table.remarks]:
            report(line)
    return out


@dataclass(eq=False)
class Spill:
    """A table's rows on disk as they were read: features float32, labels float64, keys int32, row after row."""

    directory: Path
    num_rows: int
    num_features: int
    labels: Labels
    label_column: int
    is_songs: bool
    key_names: tuple[str, ...]
    rounded: NDArray[np.bool_]
    table: Table
    key_column: int | None

    def blocks(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """(features (n, F), raw labels (n,)) in order."""
        rows = max(1, BLOCK_BYTES // (4 * self.num_features))
        with (self.directory / "features").open("rb") as features, (self.directory / "labels").open("rb") as labels:
            for start in range(0, self.num_rows, rows):
                count = min(rows, self.num_rows - start)
                block = np.fromfile(features, np.float32, count * self.num_features)
                yield block.reshape(count, self.num_features), np.fromfile(labels, np.float64, count)

    def raw_labels(self) -> NDArray[np.float64]:
        return np.fromfile(self.directory / "labels", np.float64)

    def keys(self) -> NDArray[np.int32]:
        return np.fromfile(self.directory / "keys", np.int32)

    def remove(self) -> None:
        for name in ("features", "labels", "keys"):
            (self.directory / name).unlink(missing_ok=True)
        self.directory.rmdir()


def read_into_spill(
    table: Table, columns: Columns, config: DataConfig, directory: Path, progress: Progress | None
) -> Spill:
    """Read the whole table once."""
    assert columns.label is not None
    spill_dir = directory / "spill"
    spill_dir.mkdir()
    labels = LabelReader(table, columns.label, config)
    keys: dict[str, int] = {}
    num_rows, total = 0, table.stamp()[0]
    with (
        (spill_dir / "features").open("wb", buffering=0) as feature_file,
        (spill_dir / "labels").open("wb") as label_file,
        (spill_dir / "keys").open("wb") as key_file,
    ):
        for chunk in table.chunks(columns):
            write_whole(feature_file, chunk.features)
            label_file.write(labels.add(chunk.labels).tobytes())
            if chunk.keys is not None:
                key_file.write(_key_codes(chunk.keys, keys).tobytes())
            num_rows += len(chunk.features)
            if progress is not None:
                progress(min(table.bytes_read(), total), total)
    if num_rows == 0:
        raise DataError(f"{table.path}: the file holds no rows.")
    return Spill(
        spill_dir,
        num_rows,
        len(columns.features),
        labels.result(),
        columns.label,
        labels.is_songs,
        tuple(keys),
        np.zeros(len(columns.features), np.bool_),
        table,
        columns.key,
    )


def write_dataset(directory: Path, spill: Spill, schema: Schema, config: DataConfig) -> dict[str, Any]:
    """Deal the spilled rows to the virtual shards; the metadata, without source and checksum."""
    given = SplitInput(
        path=spill.table.path,
        num_rows=spill.num_rows,
        is_songs=spill.is_songs,
        has_classes=spill.labels.kind == "classes",
        labels=spill.raw_labels,
        keys=spill.keys,
        key_names=spill.key_names,
        key_error=lambda row, problem: spill.table.row_error(row, spill.key_column, problem),
        first_of_group=spill.table.first_of_group,
    )
    splits = assign_splits(config, given)
    counts = np.bincount(splits, minlength=len(SPLITS))
    num_shards = config.num_virtual_shards or default_num_virtual_shards(int(counts[0]))
    if num_shards > counts[0]:
        raise DataError(
            f"{spill.table.path}: {counts[0]} train rows cannot fill {num_shards} virtual shards. "
            "Give a smaller --num-virtual-shards or, where it was made for the batch, a smaller --global-batch-size."
        )
    shards = ShardFiles(directory, schema, counts, num_shards, config.split_seed)
    statistics = RunningStatistics(schema.num_features)
    start = 0
    for features, raw in spill.blocks():
        block_splits = splits[start : start + len(features)]
        shards.add(features, spill.labels.encode(raw), block_splits, start)
        statistics.add(features[block_splits == 0] if block_splits.any() else features)
        start += len(features)
    values = None
    if schema.label_kind == "values":  # as they are stored, which is what a model is trained on
        values = spill.raw_labels()[splits == 0].astype(np.float32).astype(np.float64)
    return {
        "format": FORMAT,
        "conversion_version": CONVERSION_VERSION,
        "schema": schema.to_json(),
        "num_virtual_shards": num_shards,
        "split": chosen_method(config, given),
        "statistics": statistics.result(values).to_json(),
        **shards.finish(),
    }


def _key_codes(keys: Any, known: dict[str, int]) -> NDArray[np.int32]:
    encoded = keys.dictionary_encode()
    codes = [known.setdefault(str(value), len(known)) for value in encoded.dictionary.to_pylist()]
    rows: NDArray[np.int32] = np.array(codes, np.int32)[as_numpy(encoded.indices)]
    return rows
