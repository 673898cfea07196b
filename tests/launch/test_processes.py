"""The helper of the other tests: it ends what it starts, wherever that hides."""

from __future__ import annotations

import os
import signal
import sys
import time

import psutil
import pytest
from processes import environment, mpirun, run, started

PYTHON = sys.executable
# A grandchild in a session of its own whose parent is gone: neither the group nor the tree leads to it.
HIDING = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, flush=True)"


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_run_gives_code_and_both_streams() -> None:
    finished = run([PYTHON, "-c", "import sys; print('a'); sys.exit('b')"], timeout_s=20, ok=False)
    assert (finished.code, finished.stdout, finished.stderr) == (1, "a\n", "b\n")


@pytest.mark.parametrize(("code", "ok"), [(0, False), (3, True)])
def test_an_unexpected_code_fails_the_test_and_shows_the_output(code: int, ok: bool) -> None:
    with pytest.raises(AssertionError, match="the output"):
        run([PYTHON, "-c", f"print('the output'); raise SystemExit({code})"], timeout_s=20, ok=ok)


def test_a_process_left_behind_is_told_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processes.LINGER_S", 0.2)
    with started([PYTHON, "-c", HIDING]) as job:
        finished = job.wait(20)
    assert finished.left_behind == ("sleep 60",)
    assert gone(int(finished.stdout))
    with pytest.raises(AssertionError, match="left behind"):
        run([PYTHON, "-c", HIDING], timeout_s=20)


def test_a_timeout_ends_the_job_with_ranks_that_are_stopped() -> None:
    script = "import os, signal, time; print(os.getpid(), flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    pids: list[int] = []
    with started(mpirun(2, PYTHON, "-c", script)) as job:
        while len(pids) < 2:
            pids = [int(line) for line in job.stdout.split()]
        began = time.monotonic()
        with pytest.raises(AssertionError, match="did not end within 1 s"):
            job.wait(1)
        assert time.monotonic() - began < 20
    assert all(gone(pid) for pid in pids)


def test_a_failing_test_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), started(["sleep", "60"]) as job:
        raise ZeroDivisionError
    assert gone(job.pid)


def test_wait_for_and_signal() -> None:
    script = "import signal; signal.signal(2, lambda *_: exit(7)); print('ready', flush=True); signal.pause()"
    with started([PYTHON, "-c", script]) as job:
        job.wait_for("ready", timeout_s=20)
        job.signal(signal.SIGINT)
        assert job.wait(20).code == 7
    with started([PYTHON, "-c", ""]) as job, pytest.raises(AssertionError, match="ended with code 0 without"):
        job.wait_for("ready", timeout_s=20)


def test_mpi_settings_and_path_reach_the_command() -> None:
    script = "import os, shutil; print(os.environ['OMPI_ALLOW_RUN_AS_ROOT'], shutil.which('python'), os.getenv('GONE'))"
    os.environ["GONE"] = "no"
    try:
        finished = run([PYTHON, "-c", script], timeout_s=20, env={"GONE": None})
    finally:
        del os.environ["GONE"]
    assert finished.stdout.split() == ["1", os.path.join(os.path.dirname(PYTHON), "python"), "None"]
    assert environment()["OMPI_MCA_rmaps_base_oversubscribe"] == "1"
