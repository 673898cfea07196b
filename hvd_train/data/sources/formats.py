"""The formats of tables: how a file of each is recognised, and the class that reads it.

A new format is one file with a `Table` and one entry in `FORMATS`. A user's own needs no entry: `--format
path/to/file.py:MyTable` or `--format package.module:MyTable`. A class is loaded when a table of its format is opened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hvd_train.config import is_reference, resolve
from hvd_train.data.series.header import looks_like_ts
from hvd_train.data.sources.base import Table
from hvd_train.data.sources.foreign import looks_like_libsvm, refuse_foreign
from hvd_train.data.sources.header import Expected
from hvd_train.data.sources.opening import COMPRESSED, DAMAGE, ZIP, content_beginning, first_bytes
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import ConfigError


@dataclass(frozen=True)
class Format:
    """A format of tables. A file is recognised by its first bytes, else by the end of its name, else by `holds`."""

    table: str
    """Its class, as module:name."""
    beginning: bytes = b""
    suffixes: tuple[str, ...] = ()
    compressed: bool = False
    """Whether a suffix may stand before that of a compressed file: rows.svm.gz."""


FORMATS: Mapping[str, Format] = {
    "parquet": Format("hvd_train.data.sources.parquet:ParquetTable", b"PAR1", (".parquet", ".pq")),
    "npz": Format("hvd_train.data.sources.npz:NpzTable", suffixes=(".npz",)),
    "libsvm": Format(
        "hvd_train.data.sources.libsvm:LibsvmTable", suffixes=(".libsvm", ".svm", ".svmlight"), compressed=True
    ),
    "ts": Format("hvd_train.data.series.ts:TsTable", suffixes=(".ts",), compressed=True),
    "csv": Format("hvd_train.data.sources.csv:CsvTable"),  # every text that is nothing else
}


def open_table(path: Path, table_format: TableFormat, *, expected: Expected | None = None) -> Table:
    """The table at `path`; only its beginning has been read. Raises DataError where there is none.

    `expected` are the columns of the model that it is for, which tell whether a text table has a header. A user's class
    is imported here: on all ranks that read the table, after `open_world`.
    """
    found = detect_format(path) if table_format.format == "auto" else table_format.format
    return load_table_class(found).open(path, table_format.but({"format": found}), expected)


def load_table_class(name: str) -> type[Table]:
    """The class that reads a format. Raises ConfigError for a reference that names no Table."""
    if not is_reference(name):
        return cast("type[Table]", resolve(FORMATS[name].table, key="format"))
    found = resolve(name, key="format")
    if not (isinstance(found, type) and issubclass(found, Table)):
        raise ConfigError(f"format = {name!r}: this is no subclass of hvd_train.data.Table, which a format is.")
    missing = ", ".join(sorted(found.__abstractmethods__))
    if missing:
        raise ConfigError(f"format = {name!r}: the class does not define {missing}, which every Table must.")
    return found


def detect_format(path: Path) -> str:
    """The name of a file's format, by its beginning and its name. Raises DataError for a file of another kind."""
    beginning = first_bytes(path)
    for name, known in FORMATS.items():
        if known.beginning and beginning.startswith(known.beginning):
            return name
    suffixes = [s.lower() for s in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    inner = suffixes[-2] if last in COMPRESSED and len(suffixes) > 1 else ""
    for name, known in FORMATS.items():
        if last in known.suffixes or (known.compressed and inner in known.suffixes):
            return name
    if beginning.startswith(ZIP) and _holds_arrays(path):
        return "npz"
    content = content_beginning(path)
    refuse_foreign(path, content)
    if looks_like_ts(content):
        return "ts"
    return "libsvm" if looks_like_libsvm(content) else "csv"


def code_key(name: str) -> str:
    """What changes when the code of a user's format does, so that a table is converted again; empty for a built-in one.

    It is read from the file alone: nothing is imported.
    """
    if not is_reference(name):
        return ""
    place = name.rpartition(":")[0]
    try:
        origin = place if place.endswith(".py") else getattr(importlib.util.find_spec(place), "origin", None)
        return hashlib.sha256(Path(origin).read_bytes()).hexdigest() if origin else ""
    except (OSError, ImportError, ValueError):
        return ""  # refused when it is loaded


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (*DAMAGE, ValueError, NotImplementedError, RuntimeError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)
