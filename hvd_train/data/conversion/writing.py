"""Writing a dataset directory so that there is a whole one or none.

Everything goes to a temporary directory beside the final one, is synced, and renamed. What a killed process leaves
behind is removed by the next one that writes into the same folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.dataset import METADATA, is_dataset, metadata_checksum
from hvd_train.data.metadata import digest
from hvd_train.errors import DataError

OTHER_PLACE = "Choose a place that this user may write to."


class FileWriter:
    """A file written piece by piece, with its sha256. It is open only while a piece is written."""

    def __init__(self, root: Path, name: str) -> None:
        self.path, self.name = root / name, name
        self.num_bytes = 0
        self._digest = hashlib.sha256()
        self.path.parent.mkdir(exist_ok=True)

    def write(self, data: bytes | NDArray[Any]) -> None:
        content = as_bytes(data)
        with self.path.open("ab", buffering=0) as file:
            write_whole(file, content)
        self._digest.update(content)
        self.num_bytes += len(content)

    def facts(self) -> dict[str, Any]:
        return {"bytes": self.num_bytes, "sha256": self._digest.hexdigest()}


def as_bytes(data: bytes | NDArray[Any]) -> memoryview:
    """The bytes of a C-ordered array, not copied."""
    return memoryview(data if isinstance(data, bytes) else data.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def write_whole(file: Any, data: bytes | NDArray[Any] | memoryview) -> None:
    """Write all of `data` to an unbuffered file, whose own write may be short."""
    view = data if isinstance(data, memoryview) else as_bytes(data)
    while view:
        view = view[file.write(view) :]


def npy_header(dtype: np.dtype[Any], num_rows: int) -> bytes:
    """The beginning of a .npy file of `num_rows` records."""
    buffer = io.BytesIO()
    description = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": description, "fortran_order": False, "shape": (num_rows,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def npy_bytes(array: NDArray[Any]) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_metadata(directory: Path, metadata: dict[str, Any]) -> None:
    """Write metadata.json with its checksum, the last file of a dataset."""
    complete = metadata | {"checksum": metadata_checksum(metadata)}
    complete["digest"] = digest(complete)
    text = json.dumps(complete, indent=1, sort_keys=True, allow_nan=False)
    (directory / METADATA).write_text(text, encoding="utf-8")


@contextmanager
def new_directory(final: Path, *, force: bool = False, way_out: str = OTHER_PLACE) -> Iterator[Path]:
    """A temporary directory that becomes `final` when the block ends well, and is removed when it does not.

    It is locked while the block runs: what a killed process left is known by its lock being free. Raises DataError where `final` is there already (with `force`: where it is something else than a dataset), and for
    what the file system refuses.
    """
    require_free(final, force=force)
    temporary = final.parent / f".{final.name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    lock = -1
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(final.parent)
        temporary.mkdir()
        lock = os.open(temporary, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: then the process's number must do
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _sync(path)
        _replace(temporary, final)
        _sync(final.parent)
    except OSError as error:
        raise write_error(final, error, way_out=way_out) from error
    finally:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(final: Path, *, force: bool) -> None:
    """Raise DataError unless a dataset may be written to `final`."""
    if not final.exists():
        return
    if is_dataset(final):
        if not force:
            raise DataError(f"{final}: there is a dataset already. Give --force to replace it, or another name.")
    elif not final.is_dir() or any(final.iterdir()):
        raise DataError(f"{final}: something else is there already. Give another name.")


def write_error(path: Path, error: OSError, *, way_out: str = OTHER_PLACE) -> DataError:
    """What the file system refused, and the way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = "no space is left on the disk. A conversion needs about twice the size of the float32 rows while it runs"
        return DataError(f"{path}: {free}. Nothing half-written was kept. Make room. {way_out}")
    reason = error.strerror or str(error)
    return DataError(f"{path}: it cannot be written ({reason}). {way_out}")


def _replace(temporary: Path, final: Path) -> None:
    if not is_dataset(final):
        os.rename(temporary, final)  # an empty directory gives way
        return
    old = temporary.with_suffix(".old")
    os.rename(final, old)
    os.rename(temporary, final)
    shutil.rmtree(old, ignore_errors=True)


def remove_stale(folder: Path) -> None:
    """Remove what killed conversions left in `folder`, whatever they were making: up to twice their rows each."""
    # Only this host's: whether a process lives cannot be told from another one on a shared file system. Containers with
    # one name, whose processes do not see each other, are told apart by the lock.
    pattern = re.compile(rf"\..+\.{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}\.(tmp|old)")
    for path in folder.glob(".*"):
        found = pattern.fullmatch(path.name)
        if found and not _is_alive(int(found[1])) and not _is_locked(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return True  # not what we made
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN)
    finally:
        os.close(descriptor)
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
