"""Which rank keeps the others waiting before the watchdog is up: what is judged, and what marks and processes show."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hvd_train.distributed import rendezvous as module
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.rendezvous import Look, Seen, View, job_key, mark, marked, waited_too_long

ONE_HOST = Placement(0, 3, 0, 3, "vm", "mpirun")
TWO_HOSTS = Placement(0, 4, 0, 2, "a", "mpirun")
STOPPED = Seen(7, psutil.STATUS_STOPPED, 0.0)
IDLE = Seen(7, psutil.STATUS_SLEEPING, 61.0)
AT_WORK = Seen(7, psutil.STATUS_RUNNING, 0.0)


def why(placement: Placement, view: View, waited_s: float) -> str | None:
    return waited_too_long(placement, view, waited_s=waited_s, limit_s=60, longest_s=300)


def view(
    here: set[int] | None, absent: dict[int, Seen | None] | None = None, stopped: dict[int, Seen] | None = None
) -> View:
    return View(None if here is None else frozenset(here), absent or {}, stopped or {})


@pytest.mark.parametrize(
    ("seen", "told"),
    [(STOPPED, "process 7, which is stopped"), (IDLE, "no CPU time for 61 s"), (None, "no such process")],
)
def test_a_rank_that_will_not_come_is_named_after_the_limit_and_not_before(seen: Seen | None, told: str) -> None:
    absent = view({0, 2}, {1: seen})
    assert why(ONE_HOST, absent, 60) is None
    said = why(ONE_HOST, absent, 61)
    assert said is not None
    assert said.startswith("rank 1 on host vm (")
    assert told in said
    assert said.endswith("keeps the others waiting")


def test_a_rank_that_works_has_longer() -> None:
    """It reads TensorFlow from a slow disk."""
    slow = view({0, 2}, {1: AT_WORK})
    assert why(ONE_HOST, slow, 299) is None
    assert "rank 1 on host vm (process 7, which is at work)" in str(why(ONE_HOST, slow, 301))
    # ... but another that will not come ends the job, and is the one who is named.
    both = why(ONE_HOST, view({0}, {1: AT_WORK, 2: STOPPED}), 61)
    assert both is not None
    assert "rank 2" in both
    assert "rank 1" not in both


def test_one_that_came_and_was_stopped_is_named() -> None:
    assert "rank 2 on host vm (process 7, which is stopped)" in str(
        why(ONE_HOST, view({0, 1, 2}, stopped={2: STOPPED}), 61)
    )
    assert why(ONE_HOST, view({0, 1, 2}), 119) is None
    assert "all have come (0, 1, 2), and one of them does not answer" in str(why(ONE_HOST, view({0, 1, 2}), 121))


def test_between_hosts_the_limit_holds_and_says_who_is_here() -> None:
    assert why(TWO_HOSTS, view({0, 1}), 119) is None
    assert why(TWO_HOSTS, view({0, 1}), 121) == "on host a rank 0, 1 has come, but not every rank of the other hosts"
    assert why(TWO_HOSTS, view(None), 121) == "which one is missing is not known"


def test_a_job_has_a_key_of_its_own() -> None:
    jobs = [
        {"PMIX_NAMESPACE": "1"},
        {"PMIX_NAMESPACE": "2"},
        {"SLURM_JOB_ID": "1"},
        {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"},
    ]
    assert len({job_key(job) for job in jobs}) == len(jobs)
    assert job_key({"PATH": "/bin"}) == ""


def test_marks_are_seen_while_they_last_and_taken_once() -> None:
    if not module.UNIX_SOCKETS.exists():
        pytest.skip("no abstract sockets on this system")
    name = f"test-{os.getpid()}"

    def seen() -> frozenset[int]:
        return marked(name, module.UNIX_SOCKETS.read_text())

    with mark(f"{name}.0") as first, mark(f"{name}.12") as other, mark(f"{name}.12") as again, mark(f"{name}.speaker"):
        assert (first, other, again) == (True, True, False)
        assert seen() == {0, 12}
    assert seen() == frozenset()


def test_the_ranks_of_this_job_are_found_among_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"PMIX_NAMESPACE": f"test-{os.getpid()}"}
    theirs = {**os.environ, **job, "OMPI_COMM_WORLD_RANK": "1"}
    program = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(program, env=theirs, stdin=-1, stdout=-1) as child, contextlib.ExitStack() as stack:
        stack.callback(child.kill)  # one that is stopped would be waited for
        assert child.stdout is not None
        child.stdout.readline()
        look = Look(Placement(0, 2, 0, 2, "vm", "mpirun"), job_key(job), job)
        monkeypatch.setattr(module, "marked", lambda *_: frozenset({0}))
        first = look.view(0.0).absent[1]
        assert first is not None
        assert first.pid == child.pid
        psutil.Process(child.pid).suspend()
        # The kernel stops it in its own time.
        assert os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT) is not None
        later = look.view(100.0)
        assert later.absent[1] is not None
        assert later.absent[1].is_stopped
        monkeypatch.setattr(module, "marked", lambda *_: frozenset({0, 1}))
        assert set(look.view(100.0).stopped) == {1}
    # It came once: that it is gone is no news, somebody has ended the job.
    monkeypatch.setattr(module, "marked", lambda *_: frozenset({0}))
    assert look.view(101.0) == View(frozenset({0}), {}, {})


def test_without_marks_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Look(ONE_HOST, "", {}).view(0.0) == view(None)
    monkeypatch.setattr(module, "UNIX_SOCKETS", tmp_path / "none")
    assert Look(ONE_HOST, "x", {}).view(0.0) == view(None)
