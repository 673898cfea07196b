"""Which arrays of a NumPy archive are the features and the labels, and how each is read in blocks of rows."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.sources.opening import printable
from hvd_train.errors import DataError

PAIRS = (
    ("features", "labels"),
    ("x", "y"),
    ("data", "target"),
    ("x_train", "y_train"),
    ("train_x", "train_y"),
    ("train_images", "train_labels"),
    ("train_data", "train_labels"),
    ("inputs", "targets"),
    ("arr_0", "arr_1"),
)
"""Names of features and labels, in any case of letters; the first pair that is there is read."""
FEATURE_NAMES = tuple(dict.fromkeys(names[0] for names in PAIRS))
LABEL_NAMES = (*dict.fromkeys(names[1] for names in PAIRS), "label")
_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True)
class StoredArray:
    """An array of an archive, as its header says."""

    path: Path
    member: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        return Path(self.member).stem

    def blocks(self, archive: zipfile.ZipFile, num_rows: int) -> Iterator[NDArray[Any]]:
        """`num_rows` rows after `num_rows`, (n, ...). Raises what damaged files raise (`opening.DAMAGE`), or EOFError."""
        with archive.open(self.member) as file:
            stored_header(self.path, self.member, file)
            cells = int(np.prod(self.shape[1:], dtype=np.int64))
            if self.fortran and len(self.shape) > 1:  # column after column: rows can only be had from the whole
                whole = _read(file, self.dtype, self.shape[0] * cells).reshape(self.shape[::-1]).T
                _require_end(file)
                yield from (whole[start : start + num_rows] for start in range(0, self.shape[0], num_rows))
                return
            for start in range(0, self.shape[0], num_rows):
                count = min(num_rows, self.shape[0] - start)
                block = _read(file, self.dtype, count * cells)
                if start + count == self.shape[0]:
                    _require_end(file)
                yield block.reshape(count, *self.shape[1:])

    def beginning(self, archive: zipfile.ZipFile, num_rows: int) -> NDArray[Any]:
        """Up to so many first rows of an array of one axis."""
        with archive.open(self.member) as file:
            stored_header(self.path, self.member, file)
            return _read(file, self.dtype, min(self.shape[0], num_rows))


def find_arrays(path: Path, archive: zipfile.ZipFile) -> tuple[StoredArray, StoredArray | None, tuple[str, ...]]:
    """Features, labels (None where there are none), and the names of the arrays that are left out. Raises DataError."""
    members = _members(archive)
    features, labels = _names(path, list(members))
    found = [stored_array(path, archive, name) for name in (features, labels) if name is not None]
    if len(found) == 2 and features.lower() == "arr_0" and len(found[0].shape) == 1:
        found.reverse()  # numpy.savez(OUT, y, x)
    others = tuple(name for name in members if name not in (features, labels))
    return found[0], found[1] if len(found) == 2 else None, others


def stored_array(path: Path, archive: zipfile.ZipFile, name: str) -> StoredArray:
    """The array of this name, by its header."""
    member = _members(archive)[name]
    with archive.open(member) as file:
        return StoredArray(path, member, *stored_header(path, member, file))


def _members(archive: zipfile.ZipFile) -> dict[str, str]:
    """The files of the archive by the names of their arrays."""
    return {Path(name).stem: name for name in archive.namelist() if name.endswith(".npy")}


def _names(path: Path, names: list[str]) -> tuple[str, str | None]:
    def find(wanted: str) -> str | None:
        if wanted in names:
            return wanted
        return next((name for name in names if name.lower() == wanted), None)

    if sum(name.startswith("arr_") for name in names) > 2 and not find("features"):
        raise DataError(
            f"{path}: which of {printable(', '.join(names))} are the features and which the labels? Save two arrays by name: "
            "numpy.savez(OUT, features=..., labels=...)."
        )
    for pair in PAIRS:
        features, labels = map(find, pair)
        if features is not None and labels is not None:
            return features, labels
    features = next((found for name in FEATURE_NAMES if (found := find(name))), None)
    if features is None:
        raise DataError(
            f"{path}: there is no array of features: it is called one of {', '.join(FEATURE_NAMES)}; there are "
            f"{printable(', '.join(names)) or 'none'}."
        )
    return features, next((found for name in LABEL_NAMES if (found := find(name))), None)


def stored_header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"{path}: {printable(name)} holds Python objects (pickles), which could run any program. Save numbers."
        )
    return shape, fortran, dtype


def _read(file: IO[bytes], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise EOFError("an array ends early")
    return np.frombuffer(data, dtype)


def _require_end(file: IO[bytes]) -> None:
    # Only at a member's end is its checksum compared; and a damaged header that is too short leaves bytes behind.
    if file.read(1):
        raise EOFError("an array is longer than its header says")
