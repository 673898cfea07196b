"""A rank that is killed, stopped or cut off in the middle of an exchange between hosts ends the job in time, named, and leaves nothing.

The links have 100 Mbit/s, so that nearly all of a step is exchange: whatever happens then happens in the middle of one.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from namespaces import Lab, hosts_in, why_not
from processes import BIN, Job

WATCHDOG_S = 8.0
# Beside the limit: two beats, mpirun's killing, and a machine that does other things, too.
SLACK_S = 12.0
# mpirun's keepalive (scripts/mpi.env) ends the daemon of a host that is cut off.
CUT_S = 25.0
START_S = 180.0
LINK_MBIT_PER_S = 100
# An exchange takes longer than this, and begins again before that.
WINDOW_S, EXCHANGE_S = 0.05, 20.0
TRAIN = [
    *("train", "--recipe", "reference", "--num-songs", "20000", "--local-batch-size", "64"),
    *("--steps-per-execution", "1", "--num-epochs", "500", "--early-stopping-patience", "0"),
    *("--watchdog-s", str(WATCHDOG_S)),
]  # fmt: skip
DAEMON = "orted"
LAST = 1
"""The host on which it happens. The root is on the other one."""


def layouts(ranks_per_host: int, allreduce: str) -> list[Any]:
    """Each exchange with each number of ranks a host. CI runs this one, and `make hosts SELECT=` all four."""
    every = [(ranks, exchange) for ranks in (1, 2) for exchange in ("mpi", "two-levels")]
    chosen = (ranks_per_host, allreduce)
    return [pytest.param(*one, marks=() if one == chosen else pytest.mark.slow) for one in every]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := why_not(limited=True):
        pytest.skip(reason)
    with hosts_in(tmp_path_factory.mktemp("lab"), mbit_per_s=LINK_MBIT_PER_S) as lab:
        yield lab


@contextlib.contextmanager
def training(lab: Lab, ranks_per_host: int, allreduce: str) -> Iterator[Job]:
    """A job that has done an epoch."""
    run_dir = lab.local / f"run-{time.monotonic_ns()}"
    command = lab.mpirun(ranks_per_host, BIN / "hvd-train", *TRAIN, "--run-dir", run_dir, "--allreduce", allreduce)
    with lab.running(0, *command, timeout_s=START_S + 60) as job:
        job.wait_for("epoch  1/500", timeout_s=START_S)
        yield job


def rank_on(lab: Lab, host: int, rank: int) -> psutil.Process:
    """The process of this rank: the oldest that has its number."""
    found = []
    for process in lab.processes(host):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("OMPI_COMM_WORLD_RANK") == str(rank):
                found.append(process)
    return min(found, key=lambda process: process.create_time())


def wait_for_an_exchange(lab: Lab) -> None:
    """Return while the hosts send what gradients are, not what a watchdog sends."""
    deadline = time.monotonic() + EXCHANGE_S
    while True:
        before = lab.traffic(0).sent
        time.sleep(WINDOW_S)
        if lab.traffic(0).sent - before > WINDOW_S * LINK_MBIT_PER_S * 1e6 / 8 / 2:
            return
        assert time.monotonic() < deadline, "the hosts exchange nothing"


def end_of(lab: Lab, job: Job, within_s: float, *, but: tuple[str, ...] = ()) -> str:
    """The output of a job that ended in time, not in good order, and left nothing on any host `but` these."""
    began = time.monotonic()
    finished = job.wait(within_s + 30)
    seconds = time.monotonic() - began
    assert finished.code != 0, finished
    assert seconds < within_s, f"{seconds:.1f} s\n{finished}"
    deadline = time.monotonic() + CUT_S + SLACK_S
    while left := left_over(lab, but):
        assert time.monotonic() < deadline, f"{left}\n{finished}"
        time.sleep(0.2)
    return finished.output


def left_over(lab: Lab, but: tuple[str, ...] = ()) -> list[str]:
    """Files in shared memory, and processes other than sshd's."""
    found = []
    for host in range(len(lab.names)):
        found += [str(path) for path in lab.places(host)[1].rglob("*") if not path.is_dir()]
        for process in lab.processes(host):
            with contextlib.suppress(psutil.Error):
                if process.name() not in ("sshd", *but):
                    found.append(f"{lab.names[host]}: {' '.join(process.cmdline())[:200]}")
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ranks_per_host", "allreduce"), layouts(2, "two-levels"))
def test_a_rank_is_killed(lab: Lab, ranks_per_host: int, allreduce: str) -> None:
    rank = 2 * ranks_per_host - 1
    with training(lab, ranks_per_host, allreduce) as job:
        wait_for_an_exchange(lab)
        rank_on(lab, LAST, rank).kill()
        output = end_of(lab, job, SLACK_S)
    assert re.search(rf"rank {rank} on host hostb died without a word", output), output


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ranks_per_host", "allreduce"), layouts(1, "mpi"))
def test_a_rank_is_stopped(lab: Lab, ranks_per_host: int, allreduce: str) -> None:
    rank = 2 * ranks_per_host - 1
    with training(lab, ranks_per_host, allreduce) as job:
        wait_for_an_exchange(lab)
        rank_on(lab, LAST, rank).send_signal(signal.SIGSTOP)
        output = end_of(lab, job, WATCHDOG_S + SLACK_S)
    assert re.search(rf"rank {rank} on host hostb .*has not answered for 8 s: frozen", output), output


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ranks_per_host", "allreduce"), layouts(2, "two-levels"))
def test_a_host_is_cut_off(lab: Lab, ranks_per_host: int, allreduce: str) -> None:
    try:
        with training(lab, ranks_per_host, allreduce) as job:
            wait_for_an_exchange(lab)
            lab.cut(LAST)
            # The daemon of mpirun on the host that is cut off does not end by itself: seen, and not mended.
            output = end_of(lab, job, CUT_S + SLACK_S, but=(DAEMON,))
        named = re.findall(r"rank (\d) on host hostb \(last heard", output)
        assert named == [str(ranks_per_host + number) for number in range(ranks_per_host)], output
        assert re.search(r"(has|have) not answered for 8 s: frozen, or the network is cut", output), output
    finally:
        for process in lab.processes(LAST):
            with contextlib.suppress(psutil.Error):
                if process.name() == DAEMON:
                    process.kill()
        lab.plug(LAST)


def test_what_is_left_over_is_seen(lab: Lab) -> None:
    file = Path(lab.places(0)[1]) / "left"
    file.touch()
    assert left_over(lab) == [str(file)]
    file.unlink()
