"""The user's cache of built wheels: where it is, what a wheel's key holds, and who may build at a time.

It is $XDG_CACHE_HOME/hvd_train/wheels (or ~/.cache/...). A key holds everything that the binary depends on: the versions
of Horovod, TensorFlow, Python and MPI, the machine, the build recipe, the series of patches and the C library.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hvd_train.horovod_build import cuda, environment, mpi, series
from hvd_train.horovod_build.messages import BuildError, say
from hvd_train.horovod_build.mpi import is_installed
from hvd_train.horovod_build.source import HOROVOD_VERSION

# Part of the key: raise it when the build makes a different binary of the same source. The patches are in the key by
# themselves.
RECIPE = 4
LOCK_TIMEOUT_S = 1800.0


def cache_dir() -> Path:
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise BuildError(
            f"The user with the number {os.geteuid()} has no home directory here, where the wheel is kept by default: set "
            "XDG_CACHE_HOME to a directory that this user may write to."
        ) from None
    return Path(base) / "hvd_train" / "wheels"


def sdist_dir() -> Path:
    """Where Horovod's source archive is kept, beside the wheels."""
    return cache_dir().with_name("sources")


def wheel_key(mpi_name: str, wrapper: str, gpu: str = "none", patches: Sequence[series.Patch] | None = None) -> str:
    tensorflow = next(filter(is_installed, environment.TENSORFLOW_PACKAGES), environment.TENSORFLOW_PACKAGES[0])
    parts = [
        f"horovod{HOROVOD_VERSION}",
        f"{tensorflow}{mpi.installed(tensorflow)}",
        f"cp{sys.version_info.major}{sys.version_info.minor}",
        mpi.mpi_identity(mpi_name, wrapper),
        platform.machine(),
        *([] if gpu == "none" else [cuda.identity()]),
        f"r{RECIPE}",
        series.digest(series.read_series() if patches is None else patches),
        libc(),
    ]
    return "-".join(parts)


def libc() -> str:
    """The C library, such as glibc2.36: what was linked against a newer one does not load with an older one."""
    with contextlib.suppress(ValueError, OSError):
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").replace(" ", "") or "libc"
    return "libc"


def cached_wheel(folder: Path) -> Path | None:
    """The whole wheel in `folder`, or None. A wheel whose checksum is wrong is removed."""
    for wheel in folder.glob("*.whl"):
        note = wheel.with_suffix(".sha256")
        if note.is_file() and note.read_text().strip() == sha256(wheel):
            return wheel
        say(f"The cached {wheel.name} is damaged; building it again.")
    # Whatever else lies there would be in the way of the new one's rename.
    shutil.rmtree(folder, ignore_errors=True)
    return None


def wheel_without_libc(folder: Path) -> Path | None:
    """A wheel from before the C library stood in the key, if it asks for no newer one than is here."""
    earlier = folder.with_name(folder.name.removesuffix(f"-{libc()}"))
    wheel = cached_wheel(earlier) if earlier.is_dir() else None
    here = re.fullmatch(r"glibc(\d+)\.(\d+)", libc())
    if wheel is None or here is None:
        return None
    with zipfile.ZipFile(wheel) as archive:
        libraries = [archive.read(name) for name in archive.namelist() if name.endswith(".so")]
    asked = [tuple(map(int, v)) for library in libraries for v in re.findall(rb"GLIBC_(\d+)\.(\d+)", library)]
    return wheel if max(asked, default=(0, 0)) <= tuple(map(int, here.groups())) else None


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold an exclusive lock on `path`, so that two set-ups at once build one wheel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither followed, if it is a link, nor emptied.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+") as handle:
        deadline, told = time.monotonic() + timeout_s, False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError(
                        f"Another build has held {path} for {timeout_s:.0f} s. End it, or wait and run the same command again."
                    ) from None
                if not told:
                    say("Another set-up is building the same Horovod wheel; waiting for it.")
                    told = True
                time.sleep(1.0)
        yield
