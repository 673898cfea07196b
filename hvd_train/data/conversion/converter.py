"""From a table to a dataset directory, in one pass over the table and bounded memory.

The table's rows go to a spill file as they are read, since the split and the labels are known only at its end; then
from there, again in blocks, each to the file of its virtual shard. Resident are one block, one byte a row for the
split, and the names of groups; not the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hvd_train
from hvd_train.config import SPLITS, SplitConfig, TableConfig
from hvd_train.data.categories.encoding import Encoding, text_positions
from hvd_train.data.categories.learning import TextCounts, Texts, decided
from hvd_train.data.categories.roles import choose_table_columns, layout_of_features, require_label_named
from hvd_train.data.conversion.exactness import extremes_of, require_held
from hvd_train.data.conversion.notes import notes
from hvd_train.data.conversion.shard_files import ShardFiles
from hvd_train.data.conversion.spill import NO_KEY, ShowProgress, Spill, read_into_spill
from hvd_train.data.conversion.splits import SplitInput, assign_splits, chosen_method
from hvd_train.data.conversion.writing import OTHER_PLACE, new_directory, write_metadata
from hvd_train.data.dataset import CONVERSION_VERSION, FORMAT, Dataset
from hvd_train.data.schema import Columns, Schema
from hvd_train.data.series.lengths import RunningLengths
from hvd_train.data.series.two_tables import TrainAndTest
from hvd_train.data.sharding import default_num_virtual_shards
from hvd_train.data.sources import Table, TableFormat, open_table
from hvd_train.data.statistics import RunningStatistics
from hvd_train.errors import DataError

Tell = Callable[[str], None]


def convert(
    source: Path,
    out: Path,
    config: TableConfig,
    split: SplitConfig,
    *,
    force: bool = False,
    report: Tell | None = None,
    progress: ShowProgress | None = None,
    way_out: str = OTHER_PLACE,
) -> Path:
    """Convert the table `source` into the dataset directory `out`. Raises DataError; then `out` is as it was.

    `way_out` is what a message advises where nothing can be written.
    """
    said = TableFormat.of(config)
    table = open_table(source, said)
    if config.test_path is not None:
        table = TrainAndTest(table, open_table(config.test_path, said))
    if idle := table.table_format.idle(said.changed()):
        table.remarks += (idle,)
    return convert_table(table, out, config, split, force=force, report=report, progress=progress, way_out=way_out)


def convert_table(
    table: Table,
    out: Path,
    config: TableConfig,
    split: SplitConfig,
    *,
    force: bool = False,
    report: Tell | None = None,
    progress: ShowProgress | None = None,
    way_out: str = OTHER_PLACE,
) -> Path:
    """Convert an open table, as `convert` does."""
    table.require_labels()
    columns = choose_table_columns(table, config, split)
    before = table.stamp()
    with new_directory(out, force=force, way_out=way_out) as directory:
        started = time.perf_counter()
        spill = read_into_spill(table, columns, config, directory, progress)
        if table.stamp() != before:
            raise DataError(f"{table.path}: the file was changed while it was read. Convert it again.")
        require_label_named(table, columns)
        assigned = assign(spill, split)
        encoding = learn_categories(spill, columns, assigned)
        schema = schema_of(spill, columns, encoding, layout_of_features(table, encoding.num_features, config))
        metadata = write_dataset(directory, spill, schema, encoding, assigned, split.seed)
        remarks = [*table.remarks, *columns.remarks, *_header_remarks(spill)]
        metadata["source"] = source_of(table, before[0], time.perf_counter() - started, remarks)
        spill.remove()
        unfinished = Dataset(directory, metadata | {"checksum": ""})
        metadata |= table.facts(unfinished.features_and_labels)
        write_metadata(directory, metadata)
    if report is not None:
        for line in notes(metadata):
            report(line)
    return out


def learn_categories(spill: Spill, columns: Columns, assigned: Assigned) -> Encoding:
    """What the columns of texts become, by the rows of train. Raises DataError for one that is unlike a category."""
    texts = spill.table.texts_by_position(columns)
    counts = TextCounts({position: len(some) for position, some in texts.items()})
    start = 0
    for rows, _ in spill.blocks(spill.num_features) if texts else ():
        counts.add(rows[assigned.splits[start : start + len(rows)] == 0])
        start += len(rows)
    return encoding_of(spill.table.path, columns, texts, counts)


def encoding_of(path: object, columns: Columns, texts: Mapping[int, tuple[str, ...]], counts: TextCounts) -> Encoding:
    """By position among the features: the texts of a column in the order of their codes, and their rows of train."""
    given = {i: Texts(columns.feature_names[i], some, counts.of(i)) for i, some in texts.items()}
    return Encoding.of(len(columns.features), {i: (column, texts[i]) for i, column in decided(path, given).items()})


def schema_of(spill: Spill, columns: Columns, encoding: Encoding, layout: tuple[int, int]) -> Schema:
    """What the columns of the spilled rows mean."""
    table = spill.table
    names: list[str] = []
    for position, name in enumerate(columns.feature_names):
        names += encoding.texts[position][0].feature_names if position in encoding.texts else (name,)
    return Schema(
        feature_names=tuple(names),
        label_name=table.columns[spill.label_column],
        label_kind=spill.labels.kind,
        label_values=spill.labels.values,
        layout=layout,
        source_columns=table.columns,
        is_songs=spill.is_songs,
        feature_kinds=encoding.spread(table.feature_kinds(columns)),
        text_columns=tuple(column for column, _ in encoding.texts.values()),
    )


def source_of(table: Table, num_bytes: int, seconds: float, remarks: list[str]) -> dict[str, Any]:
    """Where the rows came from: outside the checksum, since the same rows are the same data however they were written."""
    return {
        "name": table.path.name,
        "bytes": num_bytes,
        "seconds": round(seconds, 3),
        "hvd_train": hvd_train.__version__,
        "table_format": table.table_format.to_json(),
        "remarks": remarks,
    }


def _header_remarks(spill: Spill) -> list[str]:
    """What tells of a header that was read as a row: a class that is in the first row alone."""
    if spill.table.is_named or spill.labels.kind != "classes":
        return []
    raw = spill.raw_labels()
    if np.count_nonzero(raw == raw[0]) > 1:
        return []
    name = spill.labels.values[spill.labels.encode(raw[:1])[0]]
    return [f"the class {name!r} is in the first row alone: if that is a header, say so by --header yes"]


@dataclass(frozen=True, eq=False)
class Assigned:
    """Which split each row belongs to, and the number of virtual shards."""

    method: str
    splits: NDArray[np.uint8]
    counts: NDArray[np.int64]
    num_shards: int


def assign(spill: Spill, split: SplitConfig) -> Assigned:
    """Assign the spilled rows to the splits. Raises DataError where they cannot be."""
    given = SplitInput(
        path=spill.table.path,
        num_rows=spill.num_rows,
        is_songs=spill.is_songs,
        has_classes=spill.labels.kind == "classes",
        labels=spill.raw_labels,
        keys=spill.keys,
        key_names=spill.key_names,
        key_error=spill.row_error,
        num_rows_before_test=spill.num_rows_before_test(),
        first_of_group=spill.first_of_group,
    )
    splits = assign_splits(split, given)
    counts = np.bincount(splits, minlength=len(SPLITS))
    num_shards = split.num_virtual_shards or default_num_virtual_shards(int(counts[0]))
    if num_shards > counts[0]:
        raise DataError(
            f"{spill.table.path}: {counts[0]} train rows cannot fill {num_shards} virtual shards. "
            "Give a smaller --num-virtual-shards or, where it was made for the batch, a smaller --global-batch-size."
        )
    return Assigned(chosen_method(split, given), splits, counts, num_shards)


def write_dataset(
    directory: Path, spill: Spill, schema: Schema, encoding: Encoding, assigned: Assigned, seed: int
) -> dict[str, Any]:
    """Write the spilled rows to their virtual shards; the metadata, without source and checksum."""
    splits = assigned.splits
    shards = ShardFiles(directory, schema, assigned.counts, assigned.num_shards, seed)
    statistics = RunningStatistics(schema.num_features)
    lengths = RunningLengths(schema.layout) if _are_series(spill, schema) else None
    start = 0
    for read, raw in spill.blocks(schema.num_features):
        features = encoding.apply(read)
        block_splits = splits[start : start + len(features)]
        rows = spill.source_rows(start, start + len(features))
        shards.add(features, spill.labels.encode(raw), block_splits, rows)
        statistics.add(features[block_splits == 0] if block_splits.any() else features)
        if lengths is not None:
            lengths.add(features)
        start += len(features)
    series = {} if lengths is None else {"series": lengths.result()}
    return facts_of(spill, schema, assigned, statistics) | series | shards.finish()


def _are_series(spill: Spill, schema: Schema) -> bool:
    """Whether a row still is a whole series: --drop, --features and --layout make other rows of it."""
    return spill.table.is_series and schema.layout == spill.table.layout


def facts_of(spill: Spill, schema: Schema, assigned: Assigned, statistics: RunningStatistics) -> dict[str, Any]:
    """What metadata.json says beside the files and the source. Raises DataError where a label is not held."""
    values = None
    if schema.label_kind == "values":  # as they are stored, which is what a model is trained on
        raw_labels = spill.raw_labels()
        require_held(spill.table.path, (schema.label_name,), extremes_of(raw_labels[:, None]), what="label")
        values = raw_labels[assigned.splits == 0].astype(np.float32).astype(np.float64)
    of_texts = text_positions(schema)
    return {
        "format": FORMAT,
        "conversion_version": CONVERSION_VERSION,
        "schema": schema.to_json(),
        "num_virtual_shards": assigned.num_shards,
        "split": assigned.method,
        "num_unlabelled": len(spill.unlabelled),
        "num_ungrouped": int((spill.keys() == NO_KEY).sum()),
        "row_numbers": [schema.input_names[i] for i in spill.row_numbers if i not in of_texts],
        "statistics": statistics.result(values).to_json(),
    }
