"""A folder that all workers of a conversion reach: on a file system, or anything that pyarrow or fsspec opens by a URL."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.fs

from hvd_train.errors import DataError


def is_url(place: object) -> bool:
    """Whether this names a place by a scheme, as s3://bucket/rows does.

    >>> is_url("s3://bucket/rows"), is_url("/data/rows")
    (True, False)
    """
    return "://" in str(place)


def open_file_system(place: str) -> tuple[Any, str]:
    """The file system and the path there of a folder. Raises DataError for a scheme that nothing here opens."""
    if not is_url(place):
        return pyarrow.fs.LocalFileSystem(), place
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pyarrow.fs.FileSystem.from_uri(place)  # type: ignore[no-any-return]
    try:
        import fsspec
    except ImportError:
        raise DataError(
            f"{place}: pyarrow does not know this kind of place. Install fsspec and its part for it, or name another."
        ) from None
    try:
        opened, path = fsspec.core.url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise DataError(f"{place}: this place cannot be opened: {error}. Name another.") from None
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(opened)), path


@dataclass(frozen=True)
class Store:
    """Files below a folder, by their names. Each worker opens its own."""

    root: str
    system: Any = field(init=False, repr=False, compare=False)
    path: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        system, path = open_file_system(self.root)
        object.__setattr__(self, "system", system)
        object.__setattr__(self, "path", path.rstrip("/"))

    def at(self, name: str) -> str:
        return f"{self.path}/{name}"

    def make_folder(self, name: str) -> None:
        self.system.create_dir(self.at(name), recursive=True)

    def write(self, name: str) -> Any:
        """A stream into a new file, for `with`."""
        return self.system.open_output_stream(self.at(name))

    def open(self, name: str) -> Any:
        """A file to read, for `with`."""
        return self.system.open_input_file(self.at(name))

    def read(self, name: str, start: int, size: int) -> Any:
        """`size` bytes of a file from `start` on. Raises DataError where the file is shorter."""
        with self.open(name) as file:
            found = file.read_at(size, start)
        if len(found) < size:
            raise DataError(f"{self.root}/{name}: the file is shorter than what was written. Convert again.")
        return found

    def move(self, name: str, to: str) -> None:
        self.system.move(self.at(name), self.at(to))

    def has(self, name: str) -> bool:
        kind = self.system.get_file_info(self.at(name)).type
        return bool(kind != pyarrow.fs.FileType.NotFound)

    def remove_folder(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.system.delete_dir(self.at(name))


def attempt() -> str:
    """A word for the files of one attempt of a task: another attempt writes others."""
    return secrets.token_hex(4)
