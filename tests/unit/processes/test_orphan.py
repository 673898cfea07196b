"""Which shells are horovodrun's, and that the watch over one ends the job exactly when that is gone."""

from __future__ import annotations

import subprocess
import sys
import threading

import psutil
import pytest

from hvd_train.processes.orphan import HorovodrunWatch, is_gone, is_horovodrun_command

RUN = "mpirun --allow-run-as-root --tag-output -np 2 -H localhost:2 -bind-to none -x PATH hvd-train train"


@pytest.mark.parametrize(
    ("command", "is_it"),
    [
        (["/bin/sh", "-c", RUN], True),
        # Shells of users, which may end before their mpirun does.
        (["/bin/sh", "-c", f"{RUN} &"], False),
        (["/bin/sh", "-c", f"{RUN} & "], False),
        (["/bin/sh", "-c", "mpirun -np 2 hvd-train train"], False),
        (["/bin/sh", "-c", f"nohup {RUN}"], False),
        (["bash", "job.sh"], False),
        (["/usr/bin/python", "horovodrun", "-np", "2"], False),
        (["/bin/sh"], False),
        ([""], False),
        ([], False),
    ],
)
def test_horovodruns_shell_is_known_by_its_command(command: list[str], is_it: bool) -> None:
    assert is_horovodrun_command(command) == is_it


@pytest.mark.parametrize("reaped", [True, False])
def test_the_end_of_the_watched_process_is_seen(reaped: bool) -> None:
    acted = threading.Event()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    watch = HorovodrunWatch(psutil.Process(child.pid), acted.set, poll_s=0.02)
    watch.start()
    assert not acted.wait(0.2)
    assert not is_gone(psutil.Process(child.pid))
    child.kill()
    if reaped:
        child.wait()
    assert acted.wait(5)
    watch.join(5)
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
