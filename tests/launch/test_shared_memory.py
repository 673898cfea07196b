"""What ranks exchange through shared memory (scripts/horovod): who waits, what stays behind, and where it cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes import mpirun, run, started

PROGRAM = """
import os, resource, signal, sys, time

rank, how = int(os.environ["OMPI_COMM_WORLD_RANK"]), sys.argv[1]
if how == "one rank says no" and rank == 1:
    os.environ["HOROVOD_SHARED_MEMORY"] = "0"
if how == "no room" and rank == 0:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Of a file: enough for Open MPI's segment of 4 MiB, not for one of two windows of 2 MiB for each rank.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))
if how == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import horovod.tensorflow as hvd
import tensorflow as tf
from hvd_train.keras import shared_update

hvd.init()
assert shared_update.block_length() == int(sys.argv[2])

def mean(turn):
    found = hvd.allreduce(tf.fill([300_000], float(rank + turn)), name="x").numpy()
    assert found.min() == found.max() == turn + (hvd.size() - 1) / 2, found

mean(0)
if how == "killed":
    print("running", flush=True)
    while True:
        mean(1)
if how == "late":
    computed = time.process_time()
    if rank == 0:
        time.sleep(3)
    mean(1)
    computed = time.process_time() - computed
    assert computed < 1, computed
began = time.monotonic()
for turn in range(200):
    mean(turn)
assert time.monotonic() - began < 10
hvd.shutdown()
"""
ON = {"HOROVOD_SHARED_MEMORY": "1", "HOROVOD_IDLE_CYCLE_TIME": "50", "HOROVOD_CYCLE_TIME": "0.2"}


def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def segments() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith("horovod-")}


@pytest.mark.parametrize(
    ("how", "np", "block"),
    [("on", 2, 1024), ("late", 2, 1024), ("one core", 3, 1024), ("one rank says no", 2, 0), ("no room", 2, 0)],
)
def test_means_are_right_wherever_they_are_computed(tmp_path: Path, how: str, np: int, block: int) -> None:
    """And a rank that comes late costs the others no core; ranks that share a core do not wait for their turn to poll."""
    done = run(mpirun(np, "--bind-to", "none", "python", program(tmp_path), how, str(block)), timeout_s=120, env=ON)
    assert done.stderr.count("The ranks share no memory (8 MiB in /dev/shm)") == (how == "no room"), done.stderr
    assert not segments()


def test_a_job_that_is_killed_leaves_no_memory_behind(tmp_path: Path) -> None:
    with started(mpirun(2, "python", program(tmp_path), "killed", "1024"), timeout_s=120, env=ON) as job:
        job.wait_for("running", timeout_s=100)
        assert not segments(), "its name is gone as soon as all have opened it"
        for process in job.processes():
            process.kill()
        job.wait(20)
    assert not segments()
