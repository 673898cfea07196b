"""Real jobs under mpirun, and what can befall a rank: each ends with one message that names it, in time, whole."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import Finished, Job, mpirun, started

from hvd_train.processes.launcher import PATIENCE_S
from hvd_train.watchdog.member import LONGEST_STAGGER_S

JOB = Path(__file__).with_name("watched.py")
HOST = socket.gethostname()
EVERY_RANK = [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
# watchdog_s or stall_s of watched.py, and what may come on top: two beats, the root's settling, mpirun's 2 s of killing.
FROZEN_S, STALLED_S, SLACK_S = 1.5, 2.0, 4.0


def command(np: int, directory: Path, *arguments: str) -> list[str]:
    return mpirun(np, sys.executable, JOB, directory, *arguments)


def pids(job: Job, directory: Path, np: int) -> list[int]:
    """Wait until every rank is in step 10; the ranks' process ids."""
    deadline = time.monotonic() + 20
    paths = [directory / f"pid.{rank}" for rank in range(np)]
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, job.output
        assert job.process.poll() is None, job.output
        time.sleep(0.02)
    time.sleep(0.7)  # two beats more, so that step 10 is known
    return [int(path.read_text()) for path in paths]


def end_of(job: Job, within_s: float) -> Finished:
    """The job ended by itself, not in good order, and left nothing."""
    began = time.monotonic()
    finished = job.wait(30)
    assert time.monotonic() - began < within_s, finished
    assert finished.code != 0, finished
    assert not finished.left_behind, finished
    return finished


def the_message(finished: Finished) -> str:
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, finished
    return errors[0]


@pytest.mark.parametrize(("np", "rank"), EVERY_RANK)
def test_a_frozen_rank(np: int, rank: int, tmp_path: Path) -> None:
    with started(command(np, tmp_path, "60")) as job:
        os.kill(pids(job, tmp_path, np)[rank], signal.SIGSTOP)
        finished = end_of(job, FROZEN_S + SLACK_S)
    assert the_message(finished) == (
        f"error: rank {rank} on host {HOST} (last heard: step 10 of epoch 1) has not answered for 1.5 s: "
        "frozen, or the network is cut; ending the job. The last checkpoint is runs/x."
    )
    assert finished.code == 4


@pytest.mark.parametrize(("np", "rank"), [(2, 1), (3, 0), (3, 2)])
def test_a_killed_rank(np: int, rank: int, tmp_path: Path) -> None:
    with started(command(np, tmp_path, "60")) as job:
        os.kill(pids(job, tmp_path, np)[rank], signal.SIGKILL)
        finished = end_of(job, SLACK_S)
    assert the_message(finished).startswith(
        f"error: rank {rank} on host {HOST} died without a word, last heard up to 0.3 s before: step 10 of epoch 1 ("
    )


@pytest.mark.parametrize(("np", "rank"), [(2, 0), (3, 2)])
def test_a_sleeping_rank(np: int, rank: int, tmp_path: Path) -> None:
    with started(command(np, tmp_path, "60", str(rank))) as job:
        pids(job, tmp_path, np)
        finished = end_of(job, STALLED_S + SLACK_S)
    message = the_message(finished)
    expected = rf"error: no rank has finished a step for 2 s, and the others wait for rank {rank} on host {HOST}, for [23] s at: reading rows"
    assert re.match(expected, message), message
    assert finished.code == 4


@pytest.mark.parametrize("seconds", ["1,0.3,0.6", "0.3,1,0.6", "0.5"])
def test_a_normal_end_is_silent_whatever_the_order(seconds: str, tmp_path: Path) -> None:
    with started(command(3, tmp_path, seconds)) as job:
        finished = job.wait(20)
    assert (finished.code, finished.output, finished.left_behind) == (0, "", ()), finished


@pytest.mark.parametrize("first", [0, 2])
def test_a_whole_job_that_was_stopped_and_went_on_is_left_alone(first: int, tmp_path: Path) -> None:
    """As Ctrl-Z and fg do, and a suspended laptop; for longer than watchdog_s."""
    with started(command(3, tmp_path, "4.5")) as job:
        ranks = pids(job, tmp_path, 3)
        order = sorted(ranks, key=lambda pid: pid != ranks[first])
        for pid in order:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(FROZEN_S + 1)
        for pid in order:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.2)
        finished = job.wait(20)
    assert (finished.code, finished.output) == (0, ""), finished


def test_a_rank_that_was_stopped_for_less_than_the_limit_is_left_alone(tmp_path: Path) -> None:
    with started(command(2, tmp_path, "3")) as job:
        for pid in pids(job, tmp_path, 2):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.8)
            os.kill(pid, signal.SIGCONT)
        finished = job.wait(20)
    assert (finished.code, finished.output) == (0, ""), finished


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_no_death(number: signal.Signals, tmp_path: Path) -> None:
    """mpirun passes it on to all ranks, which go one before the other."""
    with started(command(3, tmp_path, "60")) as job:
        pids(job, tmp_path, 3)
        os.kill(job.pid, number)
        finished = end_of(job, SLACK_S)
    assert "died" not in finished.output, finished


@pytest.mark.parametrize("root_on_it", [False, True])
def test_a_frozen_host_does_not_keep_mpirun(root_on_it: bool, tmp_path: Path) -> None:
    """With its daemon frozen too, mpirun would wait for that one for ever. The "host" is a second daemon on this one."""
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    agent.chmod(0o755)
    # An address for documentation: mpirun takes it for another machine, and the agent starts its daemon here.
    first, second = ("203.0.113.7", "localhost") if root_on_it else ("localhost", "203.0.113.7")
    rank = [sys.executable, JOB, tmp_path, "60"]
    options = ["-mca", "plm_rsh_agent", agent, "--bind-to", "none"]
    with started(mpirun(1, *options, "-H", first, *rank, ":", "-np", "1", "-H", second, *rank)) as job:
        frozen = psutil.Process(pids(job, tmp_path, 2)[0 if root_on_it else 1])
        daemon = frozen.parent()
        assert daemon is not None
        assert daemon.name() == "orted"
        for process in (daemon, frozen):
            process.suspend()
        began = time.monotonic()
        finished = job.wait(40)
    seconds = time.monotonic() - began
    # A member may speak for the lost root only after those before it in line, so mpirun is given longer.
    limit_s = FROZEN_S + PATIENCE_S + SLACK_S + (LONGEST_STAGGER_S if root_on_it else 0)
    assert seconds < limit_s, f"{seconds:.1f} s\n{finished}"
    assert finished.code != 0, finished
    assert "has not answered for 1.5 s: frozen, or the network is cut" in the_message(finished)
    # The frozen ones alone are left: nobody but their own host can end them.
    assert all("orted" in line or JOB.name in line for line in finished.left_behind), finished.left_behind
