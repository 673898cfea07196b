"""prepare: from what `--data` names to a dataset directory, converting at most once on each host.

Converted tables are kept in a cache, keyed by the table's content, the options that matter and the conversion's
version. A file lock lets one process convert while the others wait, with a limit.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data.conversion.converter import Tell, convert, convert_table
from hvd_train.data.conversion.notes import warnings
from hvd_train.data.conversion.spill import ShowProgress
from hvd_train.data.conversion.writing import write_error
from hvd_train.data.dataset import CONVERSION_VERSION, Dataset, file_sha256, is_dataset
from hvd_train.data.songs.table import SYNTHETIC_VERSION, SyntheticSongs
from hvd_train.data.sources import code_key
from hvd_train.data.sources.opening import first_bytes
from hvd_train.data.sources.table_format import FIELDS as TABLE_FORMAT_FIELDS
from hvd_train.errors import DataError
from hvd_train.files import NotALock, open_lock, process_name, read_note, write_note
from hvd_train.text import one_line

DEFAULT_LOCK_TIMEOUT_S = 1800.0
CACHE_WAY_OUT = "Choose a directory that this user may write to: --cache-dir DIR, or $XDG_CACHE_HOME."
_POLL_S = 0.1
_TABLE_OPTIONS = (*TABLE_FORMAT_FIELDS, "label", "label_kind", "drop", "features", "categories", "layout")
"""The fields of TableConfig that decide what a table is converted to. All of SplitConfig do."""
_FLAGS_OF_SPLIT = {"method": "split", "seed": "split_seed"}
"""Flags of SplitConfig that have another name than their field. The cache's names are made of the flags' names."""


def prepare(
    table: TableConfig,
    split: SplitConfig,
    *,
    report: Tell | None = None,
    progress: ShowProgress | None = None,
    lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S,
) -> Path:
    """The dataset directory of `table.path`: itself, or where its table, or the synthetic songs, were converted to.

    Every rank may call it at once. Raises DataError for a table that cannot be used, a cache that cannot be written,
    and when another process converts for longer than `lock_timeout_s`.
    """
    _require_test_table(table)
    if table.path is not None and table.path.is_dir():
        _require_same_shards(table.path, split)
        _tell_warnings(table.path, report)
        if (idle := _idle_flags(table, split)) and report is not None:
            report(f"{table.path} was converted before, so these flags have no effect: {', '.join(idle)}")
        return table.path
    target, content = _target(table, split)

    def make() -> None:
        if table.path is None:
            songs = SyntheticSongs(table.num_songs)
            convert_table(songs, target, table, split, report=report, progress=progress, way_out=CACHE_WAY_OUT)
        else:
            if report is not None:
                report(f"converting {table.path} once, into {target}")
            convert(table.path, target, table, split, report=report, progress=progress, way_out=CACHE_WAY_OUT)
        if split.num_virtual_shards is None:
            alias = _name_with_shards(target, table, split, content)
            if not alias.exists():
                with suppress(OSError):  # only spares a second conversion
                    alias.symlink_to(target.name)

    is_made = _once(target, make, report, lock_timeout_s)
    if not is_made:  # or it would have been told
        _tell_warnings(target, report)
    return target


def converted_before(table: TableConfig, split: SplitConfig) -> Path | None:
    """The directory that `prepare` returns without converting anything; None where it converts. Writes nothing.

    Raises DataError for a table that cannot be read.
    """
    if table.path is not None and table.path.is_dir():
        return table.path
    target, _ = _target(table, split)
    return target if _is_whole(target) else None


def _target(table: TableConfig, split: SplitConfig) -> tuple[Path, str]:
    """Where a table, or the synthetic songs, are converted to, and what names their content."""
    if table.path is None:
        stem, content = f"synthetic-songs-{table.num_songs}", f"synthetic songs {SYNTHETIC_VERSION} {table.num_songs}"
    else:
        first_bytes(table.path)  # refuses no such file, an empty one
        stem, content = table.path.name.partition(".")[0][:40] or "table", _content_key(table.path, table.format)
        if table.test_path is not None:
            first_bytes(table.test_path)
            content += f" test {_content_key(table.test_path, table.format)}"
    return cache_dir(table) / f"{stem}-{_key(table, split, content)}", content


def _name_with_shards(target: Path, table: TableConfig, split: SplitConfig, content: str) -> Path:
    """The name the same dataset has where its number of virtual shards is asked for, as a resumed run does."""
    num_shards = Dataset.open(target).num_virtual_shards
    key = _key(table, dataclasses.replace(split, num_virtual_shards=num_shards), content)
    return target.with_name(f"{target.name.rpartition('-')[0]}-{key}")


def cache_dir(table: TableConfig) -> Path:
    """Where converted tables are kept."""
    return cache_root(table) / "datasets"


def cache_root(table: TableConfig) -> Path:
    """The directory of everything that is cached for this table."""
    return table.cache_dir or user_cache_dir()


def user_cache_dir() -> Path:
    """$XDG_CACHE_HOME/hvd_train, or ~/.cache/hvd_train. Raises DataError where this user has no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "hvd_train"
    except RuntimeError:
        raise DataError(
            f"The user with the number {os.geteuid()} has no home directory here, where converted tables are kept by "
            f"default. {CACHE_WAY_OUT}"
        ) from None


def _require_test_table(table: TableConfig) -> None:
    """DataError where --test-data cannot be used."""
    if table.test_path is None:
        return
    if table.path is None:
        raise DataError("--test-data needs --data, whose rows are train and val.")
    if table.path.is_dir():
        raise DataError(f"{table.path} was converted before, with test rows of its own: leave --test-data out.")


def _require_same_shards(directory: Path, split: SplitConfig) -> None:
    num_shards = Dataset.open(directory).num_virtual_shards
    if split.num_virtual_shards not in (None, num_shards):
        raise DataError(
            f"{directory}: it was converted to {num_shards} virtual shards, but --num-virtual-shards is "
            f"{split.num_virtual_shards}. Convert the table again with that number."
        )


def _conversion_options(table: TableConfig, split: SplitConfig) -> dict[str, Any]:
    """What decides what a table is converted to, by the names of the flags."""
    options = {name: getattr(table, name) for name in _TABLE_OPTIONS}
    return options | {_FLAGS_OF_SPLIT.get(name, name): value for name, value in dataclasses.asdict(split).items()}


def _idle_flags(table: TableConfig, split: SplitConfig) -> list[str]:
    """The flags that were given and that have no effect on a dataset directory."""
    given, default = _conversion_options(table, split), _conversion_options(TableConfig(), SplitConfig())
    # A recipe sets the second for tables that are read.
    silent = ("num_virtual_shards", "missing_in_features")
    names = [name for name in given if name not in silent and given[name] != default[name]]
    return [f"--{name.replace('_', '-')}" for name in names]


def _key(table: TableConfig, split: SplitConfig, content: str) -> str:
    text = json.dumps([content, CONVERSION_VERSION, _conversion_options(table, split)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _content_key(path: Path, table_format: str) -> str:
    try:
        # The name may decide the format.
        return f"{file_sha256(path)} {''.join(path.suffixes)[-20:]}{code_key(table_format)}"
    except OSError as error:
        raise DataError(f"{path}: it cannot be read: {error.strerror or error}.") from None


def _tell_warnings(directory: Path, report: Tell | None) -> None:
    if report is not None:
        for line in warnings(Dataset.open(directory).metadata):
            report(line)


def _once(target: Path, make: Callable[[], None], report: Tell | None, lock_timeout_s: float) -> bool:
    """See that there is a whole `target`, made by this process (True) or another one.

    A whole one needs no lock: the cache may be read-only.
    """
    if not _is_whole(target):
        with locked(target.with_name(target.name + ".lock"), report, lock_timeout_s):
            if not _is_whole(target):
                if target.exists():
                    _remove_damaged(target, report)
                make()
                return True
    return False


def _is_whole(directory: Path) -> bool:
    if not is_dataset(directory):
        return False
    try:
        Dataset.open(directory)
    except DataError:
        return False
    return True


def _remove_damaged(directory: Path, report: Tell | None) -> None:
    if report is not None:
        report(f"{directory} in the cache is damaged: it is made again")
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise write_error(directory, error, way_out=CACHE_WAY_OUT) from error


@contextmanager
def locked(path: Path, report: Tell | None, timeout_s: float) -> Iterator[None]:
    """Hold the lock file `path`. The kernel frees it when its holder dies, however that happens."""
    deadline = time.monotonic() + timeout_s
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(path)
    except NotALock as error:
        raise DataError(f"{path}: {error.strerror}.") from None
    except OSError as error:
        raise write_error(path.parent, error, way_out=CACHE_WAY_OUT) from error
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                    raise write_error(path, error, way_out=CACHE_WAY_OUT) from error
            holder = one_line(read_note(descriptor)) or "another process"
            if time.monotonic() > deadline:
                raise DataError(
                    f"{path.parent}: {holder} has been converting the same data for more than {timeout_s:g} s. "
                    "Is it frozen? End it, or convert beforehand with `hvd-train data convert`."
                )
            if report is not None and not told:
                report(f"waiting for {holder}, which converts the same data")
                told = True
            time.sleep(_POLL_S)
        try:
            write_note(descriptor, process_name())
        except OSError as error:
            raise write_error(path, error, way_out=CACHE_WAY_OUT) from error
        yield
    finally:
        os.close(descriptor)
