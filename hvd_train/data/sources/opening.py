"""Opening files that may be compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hvd_train.data.sources.foreign import MAX_LOOK_BYTES, foreign_zip
from hvd_train.errors import DataError

DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, OSError)
"""What reading a damaged compressed file raises."""
_BUFFER_BYTES = 1 << 20
ZIP = b"PK\x03\x04"
COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
"""Ends of the names of compressed files."""


def first_bytes(path: Path, count: int = 8) -> bytes:
    """The beginning of a file that must be there. Raises DataError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would wait, and it can be read only once
            raise DataError(f"{path}: this is no regular file. Write the table to one first.")
        with path.open("rb") as file:
            beginning = file.read(count)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory, not a table.") from None
    except OSError as error:
        raise DataError(f"{path}: it cannot be read: {error.strerror or error}.") from None
    if not beginning:
        raise DataError(f"{path}: the file is empty.")
    return beginning


def content_beginning(path: Path) -> bytes:
    """The first bytes of a file, decompressed; fewer where it is damaged. Raises DataError where it cannot be read."""
    with open_bytes(path) as file:
        try:
            return file.stream.read(MAX_LOOK_BYTES)
        except DAMAGE:
            return b""


@dataclass(frozen=True, eq=False)
class OpenFile:
    """A file being read."""

    stream: io.BufferedReader[Any]
    """Its content, decompressed."""
    raw: io.BufferedReader[Any]
    """The file itself: `raw.tell()` says how much of it has been read."""


@contextmanager
def open_bytes(path: Path) -> Iterator[OpenFile]:
    """The file's content, decompressed where it is a gzip, bzip2, xz or zip file, whatever its name. Raises DataError."""
    beginning = first_bytes(path)
    with ExitStack() as stack:
        raw = stack.enter_context(io.BufferedReader(io.FileIO(path), _BUFFER_BYTES))
        try:
            stream = _decompressed(path, raw, beginning, stack)
        except DAMAGE as error:
            raise damaged(path, error) from None
        yield OpenFile(stream, raw)


def _decompressed(
    path: Path, raw: io.BufferedReader[Any], beginning: bytes, stack: ExitStack
) -> io.BufferedReader[Any]:
    if beginning.startswith(b"\x1f\x8b"):
        opened: Any = gzip.GzipFile(fileobj=raw)
    elif beginning.startswith(b"BZh"):
        opened = bz2.BZ2File(raw)
    elif beginning.startswith(b"\xfd7zXZ\x00"):
        opened = lzma.LZMAFile(raw)  # noqa: SIM115 (closed by the stack)
    elif beginning.startswith(ZIP):
        opened = _open_zip(path, stack.enter_context(zipfile.ZipFile(raw)))
    else:
        return raw
    return stack.enter_context(io.BufferedReader(opened, _BUFFER_BYTES))


def damaged(path: Path, error: BaseException) -> DataError:
    """The error for a file that breaks off or is not what its name or beginning promises."""
    reason = printable(str(error).rstrip(".")) or type(error).__name__
    return DataError(f"{path}: the file is damaged or cut short ({reason}). Get it again.")


def printable(text: str) -> str:
    """The first line of a text in which bytes of a damaged file may stand, as a terminal shows it."""
    return "".join(char if char.isprintable() else "?" for char in text.partition("\n")[0])


def _open_zip(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
    if error := foreign_zip(path, [m.filename for m in members]):
        raise error
    if len(members) != 1:
        names = printable(", ".join(m.filename for m in members[:5]))
        raise DataError(f"{path}: a zip file must hold one table, but this one holds {len(members)} files ({names}).")
    if members[0].flag_bits & 1:
        raise DataError(f"{path}: the zip file is encrypted. Unpack it first.")
    try:
        return archive.open(members[0])
    except NotImplementedError as error:
        raise DataError(f"{path}: the zip file cannot be read ({printable(str(error))}). Unpack it first.") from None
