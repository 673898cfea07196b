"""Files written atomically: a reader sees the whole new file or the one before, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def new_file(path: Path, *, suffix: str = "") -> tuple[int, Path]:
    """A new file beside `path` under a name nobody knows: its descriptor and where it is.

    Its mode follows the umask, so that whoever may read the directory's other files may read this one; `mkstemp` makes
    files that nobody else can.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{suffix}")
    return os.open(temporary, flags, 0o666), temporary


def write_atomically(path: Path, write: Any, *, sync: bool = True) -> None:
    """Call `write(file)` on a temporary file beside `path`, sync it, and rename it over `path`.

    Without `sync` the machine may lose the new file when its power fails: for files that are written often.
    """
    with open_atomically(path, sync=sync) as file:
        write(file)


@contextlib.contextmanager
def open_atomically(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A temporary file beside `path`, which replaces `path` when the block ends without an exception.

    A device, a pipe or a descriptor such as /dev/stdout is written to as it is, and never replaced.
    """
    if _takes_what_comes(path):
        with named(path), _written(path.open("wb"), sync=False) as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with named(path):
        descriptor, temporary = new_file(path)
        try:
            with _written(os.fdopen(descriptor, "wb"), sync=sync) as file:
                yield file
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    if not sync:
        return
    # The rename itself is only safe once the directory is on disk.
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """In the block an OSError says that it was this file: a full disk does not, and a temporary name tells nobody anything."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def _written(file: IO[bytes], *, sync: bool) -> Iterator[IO[bytes]]:
    """The file, complete and closed after the block. The first error counts: a full disk refuses the rest at the close again."""
    try:
        yield file
        file.flush()
        if sync:
            os.fsync(file.fileno())
        file.close()
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        raise


def _takes_what_comes(path: Path) -> bool:
    if path.exists() and not (path.is_file() or path.is_dir()):
        return True
    # The standard output may be a file, and /dev/stdout a link to a link to it.
    target = os.readlink(path) if path.is_symlink() else ""
    return target.startswith("/proc/") or os.path.realpath(path.parent).startswith("/proc/")


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """A whole file or the one before."""
    write_atomically(path, lambda file: file.write(text.encode()), sync=sync)


def write_json(path: Path, document: dict[str, Any], *, sync: bool = True) -> None:
    """A whole JSON file or the one before. NaN becomes null, so that any reader takes it."""
    write_text(path, json.dumps(without_nan(document), indent=2, allow_nan=False, default=os.fspath) + "\n", sync=sync)


def without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value
