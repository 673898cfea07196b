"""prepare: converts once, keyed by content and options, and says what is in its way."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from data_helpers import frame, sections

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data import Dataset, convert, prepare
from hvd_train.errors import DataError

Sections = tuple[TableConfig, SplitConfig]


@pytest.fixture
def config(tmp_path: Path) -> Sections:
    frame(100).to_csv(tmp_path / "songs.csv", index=False)
    return sections(path=tmp_path / "songs.csv", cache_dir=tmp_path / "cache")


def change(config: Sections, **options: object) -> Sections:
    return replace(config[0], **options), config[1]  # type: ignore[arg-type]


def change_split(config: Sections, **options: object) -> Sections:
    return config[0], replace(config[1], **options)  # type: ignore[arg-type]


def test_a_table_is_converted_once_for_the_same_content_and_options(config: Sections, tmp_path: Path) -> None:
    told: list[str] = []
    first = prepare(*config, report=told.append)
    assert len(told) > 1
    told.clear()
    assert prepare(*config, report=told.append) == first
    assert told == []
    (tmp_path / "elsewhere").mkdir()
    assert config[0].path is not None
    moved = config[0].path.rename(tmp_path / "elsewhere/songs.csv")
    assert prepare(*change(config, path=moved)) == first
    assert prepare(*change(config, path=moved, num_songs=5000)) == first
    assert prepare(*change_split(change(config, path=moved), seed=1)) != first
    moved.write_text(moved.read_text().replace("2001", "2002"))
    assert prepare(*change(config, path=moved)) != first


def test_the_number_of_shards_that_was_chosen_finds_the_same_dataset(config: Sections) -> None:
    chosen = Dataset.open(prepare(*config))
    told: list[str] = []
    again = Dataset.open(
        prepare(*change_split(config, num_virtual_shards=chosen.num_virtual_shards), report=told.append)
    )
    assert (again.checksum, told) == (chosen.checksum, [])


def test_a_dataset_directory_is_itself(config: Sections, tmp_path: Path) -> None:
    assert config[0].path is not None
    made = convert(config[0].path, tmp_path / "made", *sections(num_virtual_shards=6))
    assert prepare(*sections(path=made)) == made
    with pytest.raises(DataError, match="6 virtual shards, but --num-virtual-shards is 4"):
        prepare(*sections(path=made, num_virtual_shards=4))
    with pytest.raises(DataError, match="no dataset directory"):
        prepare(*sections(path=tmp_path))


def test_waiting_for_another_process_has_a_limit(config: Sections) -> None:
    directory = prepare(*config)
    lock = directory.with_name(directory.name + ".lock")
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()
    told: list[str] = []
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"process \d+ on .* has been converting the same data for more than 0.3 s"):
            prepare(*config, report=told.append, lock_timeout_s=0.3)
    assert len(told) == 1
    assert "waiting for process" in told[0]
    assert prepare(*config) == directory


def test_a_cache_that_is_no_directory(config: Sections, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        prepare(*change(config, cache_dir=tmp_path / "file"))


def test_a_damaged_cache_is_told_and_made_again(config: Sections) -> None:
    directory = prepare(*config)
    checksum = Dataset.open(directory).checksum
    shard = directory / "train/00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    told: list[str] = []
    assert prepare(*config, report=told.append) == directory
    assert "damaged" in told[0]
    assert Dataset.open(directory).find_damage() == []
    assert Dataset.open(directory).checksum == checksum


def test_a_lock_that_is_a_link_is_not_followed(config: Sections, tmp_path: Path) -> None:
    """In a shared cache anybody may put one there: it emptied whatever file of ours it named."""
    directory = prepare(*config)
    lock = directory.with_name(directory.name + ".lock")
    shutil.rmtree(directory)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    lock.unlink()
    lock.symlink_to(precious)
    with pytest.raises(DataError, match=r"\.lock: a symbolic link is there, which is not followed: remove it"):
        prepare(*config)
    lock.unlink()
    os.link(precious, lock)
    assert prepare(*config) == directory
    assert precious.read_text() == "mine"


def test_what_a_killed_conversion_left_is_swept_by_the_next_of_any_table(config: Sections, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "datasets"
    cache.mkdir(parents=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = cache / f".other-table-0123.{socket.gethostname()}-{dead.pid}-00c0ffee.tmp"
    locked = cache / f".third-table-0123.{socket.gethostname()}-{dead.pid}-00c0ffee.tmp"
    alive = cache / f".other-table-0123.{socket.gethostname()}-{os.getpid()}-00c0ffee.tmp"
    elsewhere = cache / f".other-table-0123.node7-{dead.pid}-00c0ffee.tmp"
    for path in (left, locked, alive, elsewhere):
        (path / "spill").mkdir(parents=True)
        (path / "spill" / "features").write_bytes(b"rows")
    descriptor = os.open(locked, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # of a process in another container of this host's name
    try:
        prepare(*config)
    finally:
        os.close(descriptor)
    assert [path.exists() for path in (left, locked, alive, elsewhere)] == [False, True, True, True]


def test_a_user_without_a_home_is_told_of_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `setpriv --reuid 54321 env -u HOME` has none; and so is one whose cache cannot be written."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DataError, match=r"no home directory here, .*--cache-dir DIR"):
        prepare(*sections())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written .*--cache-dir DIR"):
        prepare(*sections(cache_dir=tmp_path / "file"))
