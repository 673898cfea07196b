"""One run, one directory: reserved by making it, and held for as long as the run lives."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hvd_train.errors import CheckpointError, UserError
from hvd_train.files.writing import new_file
from hvd_train.runs import RunDir, latest_run, new_run_dir
from hvd_train.runs import directory_lock as module
from hvd_train.runs.directory_lock import LOCK, boot_id, holder, lock_directory
from hvd_train.schedulers.job import Job

NOW = datetime.datetime(2026, 11, 27, 20, 10)
HOLD = """
import sys, time
from pathlib import Path
from hvd_train.runs.directory_lock import lock_directory
with lock_directory(Path(sys.argv[1]), what="The run directory", flag="--run-dir"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(directory: Path):  # type: ignore[no-untyped-def]
    return lock_directory(directory, what="The run directory", flag="--run-dir")


def test_runs_that_start_in_one_second_get_a_directory_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_dir("debug", now=NOW, parent=tmp_path / "runs"), range(24)))
    assert len({run.path for run in made}) == 24
    assert made[0].path.name.startswith("debug-20261127-201000")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == sorted(run.path.name for run in made)


def test_a_job_s_runs_carry_its_id(tmp_path: Path) -> None:
    run = new_run_dir("debug", now=NOW, parent=tmp_path, job=Job("Slurm", "12_3"))
    assert run.path.name == "debug-20261127-201000-job12_3"


def test_a_second_start_is_refused_naming_the_first_and_free_after_it(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert f"process {os.getpid()} on " in (holder(tmp_path) or "")
        refused = rf"The run directory {tmp_path} is in use by process {os.getpid()} on .*, since .*--run-dir"
        with pytest.raises(UserError, match=refused), hold(tmp_path):
            pass
        assert holder(tmp_path) is not None, "a refusal must not free the lock"
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    with hold(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {process.pid} on"), hold(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert f"process {process.pid}" in (tmp_path / LOCK).read_text()
        assert holder(tmp_path) is None
        began = time.monotonic()
        with hold(tmp_path):
            assert time.monotonic() - began < 5


def test_what_was_made_for_nothing_goes_again(tmp_path: Path) -> None:
    deep = tmp_path / "runs" / "a"
    with hold(deep):
        assert deep.is_dir()
    assert not (tmp_path / "runs").exists()
    with hold(deep):
        (deep / "config.toml").touch()
    assert [p.name for p in deep.iterdir()] == ["config.toml"]
    (tmp_path / "mine").mkdir()
    with hold(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir(), "what was there before stays"
    reserved = new_run_dir("debug", parent=tmp_path / "new")
    with lock_directory(reserved.path, what="", flag="", made=reserved.made):
        pass
    assert not (tmp_path / "new").exists()


def write_note_of_another_machine(directory: Path, *, age_s: float) -> Path:
    lock = directory / LOCK
    lock.write_text("process 12 on node7, since 2026-11-27 20:10:00, Slurm job 5\nanother-boot\n")
    os.utime(lock, (time.time() - age_s,) * 2)
    return lock


def test_a_holder_on_another_machine_counts_while_it_gives_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a flock may not reach: the file's time tells."""
    assert boot_id() != "another-boot"
    lock = write_note_of_another_machine(tmp_path, age_s=2)
    assert holder(tmp_path) == "process 12 on node7, since 2026-11-27 20:10:00, Slurm job 5"
    monkeypatch.setattr(module, "BEAT_S", 0.2)
    touch = threading.Timer(0.3, os.utime, (lock,))
    touch.start()
    told: list[str] = []
    refused = pytest.raises(UserError, match="in use by process 12 on node7, .*Slurm job 5")
    with refused, lock_directory(tmp_path, what="", flag="", notify=told.append):
        pass
    touch.join()
    assert "waiting up to" in told[0]
    assert "another-boot" in lock.read_text()
    monkeypatch.setattr(module, "SILENT_S", 2.2)
    os.utime(lock, (time.time() - 2,) * 2)
    with hold(tmp_path):  # a fifth of a second later
        assert boot_id() in lock.read_text()


def test_a_holder_on_another_machine_that_has_long_been_silent_does_not_delay(tmp_path: Path) -> None:
    write_note_of_another_machine(tmp_path, age_s=module.SILENT_S + 1)
    assert holder(tmp_path) is None
    began = time.monotonic()
    with hold(tmp_path):
        assert time.monotonic() - began < 5


def test_the_holder_gives_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    with hold(tmp_path):
        os.utime(tmp_path / LOCK, (1, 1))
        deadline = time.monotonic() + 5
        while (tmp_path / LOCK).stat().st_mtime < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="symbolic link is there, which is not followed"), hold(run):
        pass
    (run / LOCK).unlink()
    os.link(tmp_path / "precious", run / LOCK)
    with hold(run):
        assert (tmp_path / "precious").read_text() == "mine"


def test_the_newest_run_is_the_newest_that_nobody_writes_to(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        path = RunDir(tmp_path / name).last
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert latest_run(tmp_path) == tmp_path / "new"
    with hold(tmp_path / "new"):
        assert latest_run(tmp_path) == tmp_path / "old"
        still = "every run in .* is still going on; the newest, .*new, is in use by process"
        with hold(tmp_path / "old"), pytest.raises(CheckpointError, match=still):
            latest_run(tmp_path)


def test_a_run_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written: .*--run-dir"):
        new_run_dir("debug", parent=tmp_path / "file" / "runs")
    with pytest.raises(UserError, match=r"cannot be written: .*--run-dir"), hold(tmp_path / "file" / "run"):
        pass


def test_what_interrupted_writes_left_is_swept(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.create()
    for path in (run.model, run.config, run.last):
        descriptor, left = new_file(path, suffix=path.suffix if path == run.model else "")
        os.close(descriptor)
        assert left.exists()
        path.touch()
    (tmp_path / ".mine").touch()
    run.sweep()
    found = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert found == [".mine", "config.toml", "last.npz", "model.keras"]
