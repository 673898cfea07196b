"""What is written as a whole, and what is written to as it is."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from hvd_train.files import open_atomically, write_text


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def write_half() -> None:
        with open_atomically(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(path.read_text()))
    reader.start()
    write_text(path, "rows")
    reader.join(20)
    assert seen == ["rows"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_link_to_a_descriptor_stays_as_dev_stdout_must(tmp_path: Path) -> None:
    link = tmp_path / "stdout"
    with (tmp_path / "redirected").open("wb") as file:
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        write_text(link, "rows")
    assert link.is_symlink()
    assert (tmp_path / "redirected").read_text() == "rows"


def test_a_full_device_is_named_and_not_replaced(tmp_path: Path) -> None:
    """By another name: a mistake here once replaced /dev/full itself."""
    if os.geteuid():
        pytest.skip("only root can make a device")
    full = tmp_path / "full"
    try:
        os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        full.open("wb").close()
    except OSError as error:
        pytest.skip(f"no device can be made here: {error}")
    with pytest.raises(OSError, match="No space left") as raised:
        write_text(full, "rows")
    assert raised.value.filename == str(full)
    assert stat.S_ISCHR(full.stat().st_mode)
