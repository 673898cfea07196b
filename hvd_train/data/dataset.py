"""A dataset directory: virtual shards of float32 rows and metadata.json. Written by `convert`, read here.

metadata.json          schema, rows and label counts per split, statistics of train, the sha256 of every file
train/00000.npy ...    V virtual shards of records (features, label, row_id); likewise val/ and test/
train/label_counts.npy (V, K) labels in each train shard, where there are classes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS, Split, SplitConfig, TableConfig
from hvd_train.data.metadata import LABEL_COUNTS, digest, require_whole
from hvd_train.data.schema import Schema
from hvd_train.data.series.lengths import SeriesFacts
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.data.statistics import Statistics
from hvd_train.errors import DataError
from hvd_train.files import strict, strict_arrays

METADATA = "metadata.json"
FORMAT = "hvd_train dataset"
CONVERSION_VERSION = 2
"""Goes up whenever the same table and options would be converted to something else."""
_NOT_IN_CHECKSUM = ("checksum", "digest", "source", "optimum", "series")


@dataclass(frozen=True, eq=False)
class Rows:
    """N rows of some virtual shards, shard after shard."""

    features: NDArray[np.float32]
    """(N, F); NaN is a missing cell."""
    labels: NDArray[Any]
    """(N,) class index int32, or value float32."""
    row_ids: NDArray[np.int64]
    """(N,) the row of the source table, from 0."""
    shard_starts: NDArray[np.int64]
    """Where each shard begins."""


def record_dtype(num_features: int, label_kind: str) -> np.dtype[Any]:
    """One row as it stands in a shard's file."""
    label = "<f4" if label_kind == "values" else "<i4"
    return np.dtype([("features", "<f4", (num_features,)), ("label", label), ("row_id", "<i8")])


def shard_file(split: str, shard: int) -> str:
    return f"{split}/{shard:05d}.npy"


def metadata_checksum(metadata: dict[str, Any]) -> str:
    """sha256 over everything that makes the data: it does not change with where or when they were converted.

    Nor with the CPU: what is covered comes from elementwise arithmetic, never from a BLAS, LAPACK, exp() or log(). The
    optimum does, so it is left to the digest of the file.
    """
    content = {key: value for key, value in metadata.items() if key not in _NOT_IN_CHECKSUM}
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


class Dataset:
    """A whole dataset directory. Cheap to open: rows are read by `load` alone."""

    def __init__(self, directory: Path, metadata: dict[str, Any]) -> None:
        self.directory, self.metadata = directory, metadata
        self.schema = Schema.from_json(metadata["schema"])
        self.statistics = Statistics.from_json(metadata["statistics"])
        """Of the train split."""
        self.checksum: str = metadata["checksum"]
        self.num_virtual_shards: int = metadata["num_virtual_shards"]

    @classmethod
    def open(cls, directory: Path) -> Dataset:
        """The dataset in `directory`. Raises DataError where it is not whole: a file missing or of another size."""
        metadata = read_metadata(directory)
        for name, facts in metadata["files"].items():
            try:
                size = (directory / name).stat().st_size
            except OSError:
                raise DataError(f"{directory}: {name} is missing. Convert the table again.") from None
            if size != facts["bytes"]:
                raise DataError(
                    f"{directory}: {name} has {size} bytes, but {facts['bytes']} were written. Convert the table again."
                )
        return cls(directory, metadata)

    @classmethod
    def from_arrays(
        cls,
        features: Any,
        labels: Any = None,
        *,
        table: TableConfig | None = None,
        split: SplitConfig | None = None,
        report: Callable[[str], None] | None = None,
    ) -> Dataset:
        """The dataset of a table in memory, converted once into the cache as a file of the same rows would be.

        `features`: a DataFrame with the label among its columns, or beside it in `labels` (N,); or an array (N, F) or
        (N, L, C) of numbers with `labels` (N,) or one-hot (N, K). `table` and `split` say how it is read and split, as
        for a file. `report` receives what the user should know about the data. Every rank may call it at once. Raises
        DataError for a table that cannot be used.
        """
        from hvd_train.data.arrays import in_cache
        from hvd_train.data.cache import prepare

        table = in_cache(features, labels, table=table)
        return cls.open(prepare(table, split or SplitConfig(), report=report))

    @property
    def table_format(self) -> TableFormat:
        """How the table that it was made from was read."""
        return TableFormat.from_json(self.metadata.get("source", {}).get("table_format", {}))

    @property
    def series(self) -> SeriesFacts | None:
        """Lengths and channels, where its rows are known to be series."""
        return self.metadata.get("series")

    def num_rows(self, split: Split) -> int:
        return int(self.metadata["splits"][split]["num_rows"])

    def shard_sizes(self, split: Split) -> NDArray[np.int64]:
        """(V,) rows of each virtual shard."""
        return np.array(self.metadata["splits"][split]["shard_sizes"], np.int64)

    def label_counts(self, split: Split) -> NDArray[np.int64]:
        """(K,) rows of each label; (0,) for values."""
        return np.array(self.metadata["splits"][split]["label_counts"], np.int64)

    def optimum(self, split: Split) -> dict[str, float] | None:
        """The best possible figures on val or test, known for synthetic songs: see `songs.optimum.best_figures`."""
        figures: dict[str, float] | None = self.metadata.get("optimum", {}).get(split)
        # Datasets that were converted before have an older name.
        return figures and {"within_5" if name == "accuracy_within_5" else name: f for name, f in figures.items()}

    def shard_label_counts(self) -> NDArray[np.int64]:
        """(V, K) rows of each label in each train shard. Raises DataError for values."""
        if self.schema.label_kind == "values":
            raise DataError(f"{self.directory}: the labels are values, which are not counted.")
        path = self.directory / LABEL_COUNTS
        try:
            counts = strict_arrays.parse_npy(self._verified(LABEL_COUNTS)).astype(np.int64)
            if counts.shape != (self.num_virtual_shards, self.schema.num_outputs):
                raise strict.Damaged(f"it has the shape {counts.shape}")
        except Exception as error:
            raise DataError(strict.damage(path, error, "Convert the table again.")) from None
        return counts

    def load(self, split: Split, shards: Sequence[int]) -> Rows:
        """The rows of these virtual shards, in this order; no other is read. Raises DataError."""
        sizes = self.shard_sizes(split)[list(shards)]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        dtype = record_dtype(self.schema.num_features, self.schema.label_kind)
        features = np.empty((int(starts[-1]), self.schema.num_features), np.float32)
        labels = np.empty(len(features), dtype["label"])
        row_ids = np.empty(len(features), np.int64)
        for shard, start, stop in zip(shards, starts[:-1], starts[1:], strict=True):
            # One shard at a time: what is resident is the rows asked for, plus one shard.
            records = self._read_shard(split, shard, dtype, int(stop - start))
            features[start:stop] = records["features"]
            labels[start:stop] = records["label"]
            row_ids[start:stop] = records["row_id"]
        return Rows(features, labels, row_ids, starts[:-1])

    def sample(self, split: Split, num_rows: int) -> NDArray[np.float32]:
        """(n, F) features of about `num_rows` rows, the first of each virtual shard, or of all; the same for everyone."""
        of_each = -(-num_rows // self.num_virtual_shards)
        dtype = record_dtype(self.schema.num_features, self.schema.label_kind)
        sizes = self.shard_sizes(split)
        shards = (self._read_shard(split, v, dtype, int(size)) for v, size in enumerate(sizes))
        # Copies: a view would keep the whole shard.
        return np.concatenate([shard["features"][:of_each].copy() for shard in shards])

    def features_and_labels(self, split: Split) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """The whole split in the order of the shards."""
        rows = self.load(split, range(self.num_virtual_shards))
        return rows.features, rows.labels

    def _read_shard(self, split: Split, shard: int, dtype: np.dtype[Any], num_rows: int) -> NDArray[Any]:
        """The records of a shard, whose bytes are compared with their sha256 first. Raises DataError naming the file.

        That costs 0.1 to 0.2 s for all of YearPredictionMSD, over all ranks and once a run: under 1 % of its epoch.
        """
        name = shard_file(split, shard)
        try:
            records = strict_arrays.parse_npy(self._verified(name), copy=False)
            if records.dtype != dtype or records.shape != (num_rows,):
                raise strict.Damaged(f"it does not hold what {METADATA} says")
        except Exception as error:
            way_out = f"Delete {self.directory} and convert the table again; in the cache that happens by itself."
            raise DataError(strict.damage(self.directory / name, error, way_out)) from None
        return records

    def _verified(self, name: str) -> bytes:
        """The content of a file of the directory. Raises OSError, and Damaged where it is not what was written."""
        content = (self.directory / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.metadata["files"][name]["sha256"]:
            raise strict.Damaged("its sha256 is another one than was written")
        return content

    def find_damage(self) -> list[str]:
        """The files whose content is not what was written, each with what is wrong; reads everything."""
        damage = []
        for name, facts in self.metadata["files"].items():
            try:
                digest = file_sha256(self.directory / name)
            except OSError as error:
                damage.append(f"{name}: it cannot be read ({error.strerror or error})")
                continue
            if digest != facts["sha256"]:
                damage.append(f"{name}: its sha256 is {digest}, but {facts['sha256']} was written")
        return damage


def read_metadata(directory: Path) -> dict[str, Any]:
    """The content of metadata.json. Raises DataError where there is none, or it has been changed."""
    path = directory / METADATA
    version, is_unchanged = None, False
    try:
        metadata = strict.loads(path.read_text(encoding="utf-8"))
        is_ours = isinstance(metadata, dict) and metadata.get("format") == FORMAT
        if is_ours:
            version = metadata.get("conversion_version")
        if version == CONVERSION_VERSION:
            checksums = (metadata_checksum(metadata), digest(metadata))
            is_unchanged = (metadata.get("checksum"), metadata.get("digest")) == checksums
        if is_unchanged:
            require_whole(metadata, shard_file)
    except FileNotFoundError:
        raise DataError(f"{directory}: this is no dataset directory: there is no {METADATA}.") from None
    except OSError as error:
        raise DataError(f"{path}: it cannot be read: {error.strerror or error}.") from None
    except Exception as error:
        raise DataError(strict.damage(path, error, "Convert the table again.")) from None
    if not is_ours:
        raise DataError(f"{path}: this was not written by `hvd-train data convert`.")
    if version != CONVERSION_VERSION:
        raise DataError(
            f"{directory}: it was converted by version {version!r:.20} of the conversion, this program reads version "
            f"{CONVERSION_VERSION}. Convert the table again."
        )
    if not is_unchanged:
        raise DataError(f"{path}: it has been changed since it was written. Convert the table again.")
    return metadata  # type: ignore[no-any-return]


def is_dataset(path: Path) -> bool:
    """Whether a directory at least says that it is one."""
    return (path / METADATA).is_file()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex. Raises OSError."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


__all__ = ["SPLITS", "Dataset", "Rows", "Schema", "Statistics"]
