"""A dataset directory at a URL, copied to a host before its ranks start. One process of a host copies; the others wait."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pyarrow.fs

from hvd_train.data import Dataset, Store, user_cache_dir
from hvd_train.errors import DataError


def fetch(url: str) -> Path:
    """Where the dataset at `url` lies on this host."""
    store = Store(url)
    with store.open("metadata.json") as file:
        metadata = bytes(file.readall())
    folder = user_cache_dir() / "fetched"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / hashlib.sha256(url.encode() + metadata).hexdigest()[:24]
    with (folder / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{place.name}."))
            try:
                pyarrow.fs.copy_files(store.path, str(temporary), source_filesystem=store.system)
                Dataset.open(temporary)
                os.rename(temporary, place)
            except OSError as error:
                raise DataError(f"{url}: it cannot be copied to this host ({error}). Make room in {folder}.") from None
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return place
