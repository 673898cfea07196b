"""What metadata.json must hold. A file that passes is used without another look; one that does not is damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from hvd_train.config import SPLITS
from hvd_train.data.schema import Schema
from hvd_train.data.series.lengths import SeriesFacts
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.data.statistics import Statistics
from hvd_train.files import strict

LABEL_COUNTS = "train/label_counts.npy"


class FileFacts(TypedDict):
    """A file, as it was written."""

    bytes: int
    sha256: str


class SplitFacts(TypedDict):
    """The rows of a split."""

    num_rows: int
    shard_sizes: list[int]
    label_counts: list[int]


class _Sometimes(TypedDict, total=False):
    source: dict[str, Any]
    """Where the rows came from, and how they were read."""
    optimum: dict[str, dict[str, float]]
    series: SeriesFacts
    """Where the rows are series."""


class Metadata(_Sometimes):
    """The whole document; more entries than these may be there."""

    format: str
    conversion_version: int
    schema: dict[str, Any]
    statistics: dict[str, Any]
    num_virtual_shards: int
    split: str
    num_unlabelled: int
    """Rows of the table that have no label and are left out."""
    num_ungrouped: int
    """Rows with an empty cell in the column of a split by groups."""
    row_numbers: list[str]
    """Features that rise by whole numbers from row to row."""
    splits: dict[str, SplitFacts]
    files: dict[str, FileFacts]
    checksum: str
    digest: str
    """sha256 of all the rest: unlike the checksum it changes with where and when the rows were converted."""


def digest(metadata: dict[str, Any]) -> str:
    """What the entry `digest` of this document should be."""
    return strict.digest(metadata, without=("digest",))


def require_whole(metadata: dict[str, Any], shard_file: Callable[[str, int], str]) -> None:
    """Raise strict.Damaged, or another error, unless everything has its type and fits together."""
    document: Metadata = strict.read(Metadata, metadata, "it")
    schema = Schema.from_json(document["schema"])
    Statistics.from_json(document["statistics"], num_features=schema.num_features)
    TableFormat.from_json(document.get("source", {}).get("table_format", {}))
    num_shards = document["num_virtual_shards"]
    if sorted(document["splits"]) != sorted(SPLITS):
        raise strict.Damaged(f"it has the splits {', '.join(sorted(document['splits']))}")
    if num_shards < 1 or num_shards > len(document["files"]):
        raise strict.Damaged(f"num_virtual_shards is {num_shards}, and there are {len(document['files'])} files")
    for name, split in document["splits"].items():
        _require_sum(split["shard_sizes"], num_shards, split["num_rows"], f"splits.{name}.shard_sizes")
        num_rows = split["num_rows"] if schema.label_values else 0
        _require_sum(split["label_counts"], len(schema.label_values), num_rows, f"splits.{name}.label_counts")
    # By name, so that none leads out of the directory.
    expected = {shard_file(split, shard) for split in SPLITS for shard in range(num_shards)}
    expected |= {LABEL_COUNTS} if schema.label_values else set()
    for name in sorted(expected ^ document["files"].keys()):
        raise strict.Damaged(f"the file {name!r} {'is missing among its files' if name in expected else 'is no part of a dataset'}")  # fmt: skip


def _require_sum(counts: list[int], length: int, total: int, name: str) -> None:
    if len(counts) != length or min(counts, default=0) < 0 or sum(counts) != total:
        raise strict.Damaged(f"{name} are not {length} counts of {total} rows in all")
