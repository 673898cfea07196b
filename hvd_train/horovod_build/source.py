"""The source of Horovod: fetched with its locked checksum, kept in the user's cache, unpacked and patched."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hvd_train.horovod_build import environment, series
from hvd_train.horovod_build.messages import BuildError
from hvd_train.horovod_build.tools import Tools

HOROVOD_VERSION = "0.28.1"
LOCK = Path(__file__).resolve().parent / "locks" / "horovod.txt"
DOWNLOAD_TIMEOUT_S = 600.0


def fetch_sdist(cache: Path, helpers: Tools | None = None) -> Path:
    """The source archive in the folder `cache`, downloaded if it is not there whole. Raises BuildError."""
    kept = cache / f"horovod-{HOROVOD_VERSION}.tar.gz"
    if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() in locked_hashes():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as fresh:
        os.replace(download_sdist(Path(fresh), helpers or Tools()), kept)
    return kept


def locked_hashes() -> set[str]:
    return set(re.findall(r"sha256:([0-9a-f]{64})", LOCK.read_text()))


def download_sdist(into: Path, helpers: Tools) -> Path:
    """Fetch the sdist with pip, which checks its sha256 against locks/horovod.txt."""
    command = [*environment.pip(), "download", "--quiet", "--no-deps", "--no-binary", "horovod", "--no-build-isolation",
               "--require-hashes", "-r", str(LOCK), "-d", str(into)]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, env=helpers.environ()
        )
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"Horovod's source was not downloaded within {DOWNLOAD_TIMEOUT_S:.0f} s. Is the network slow? Run the same command again."
        ) from None
    if done.returncode:
        raise BuildError(
            f"Horovod's source could not be downloaded or is not the one locked in {LOCK.name}:\n{done.stderr.strip()}"
        )
    return next(into.glob("horovod-*.tar.gz"))


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack into a clean directory: a tree that was configured before fails on Gloo. Returns the source's root."""
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(into, filter="data")
        else:
            archive.extractall(into)  # checked by hash before
    return into / f"horovod-{HOROVOD_VERSION}"


def unpack_and_patch(sdist: Path, into: Path, patches: Sequence[series.Patch] | None = None) -> Path:
    """Unpack and apply `patches`, by default the whole series. Returns the source's root. Raises BuildError."""
    root = unpack(sdist, into)
    try:
        series.apply(series.read_series() if patches is None else patches, root)
    except series.DoesNotApply as error:
        shutil.rmtree(root)
        raise BuildError(
            f"The patches are for Horovod {HOROVOD_VERSION}, and this is another source: {error}."
        ) from None
    return root
