"""What ranks exchange through shared memory (hvd_train/horovod_build/patches): who waits, what stays behind, and where it cannot be had."""

from __future__ import annotations

import json
import os
import signal
import time
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
    # Of a file: enough for Open MPI's segment of 4 MiB, not for two windows of 2 MiB for each rank.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))
if how == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import horovod.tensorflow as hvd
import tensorflow as tf
from hvd_train.keras.optimizers import shared_update

hvd.init()
assert shared_update.block_length() == int(sys.argv[2])

def mean(turn):
    found = hvd.allreduce(tf.fill([300_000], float(rank + turn)), name="x").numpy()
    assert found.min() == found.max() == turn + (hvd.size() - 1) / 2, found

mean(0)
if how == "killed":
    def tell(what, text):
        with open(f"{what}.{rank}.new", "w") as file:
            file.write(text)
        os.rename(f"{what}.{rank}.new", f"{what}.{rank}")
    tell("process", str(os.getpid()))
    try:
        while True:
            mean(1)
    except tf.errors.UnknownError as error:
        tell("ended", str(error))
        os._exit(1)  # a frozen mpirun ends no rank
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
assert time.monotonic() - began < 50  # a rank that is not woken looks once in half a second
hvd.shutdown()
"""
TRAIN = """
import os, resource, signal, sys

if os.environ["OMPI_COMM_WORLD_RANK"] == "0":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))
from hvd_train.cli.entry import main

sys.exit(main(sys.argv[1:]))
"""
TINY = ("--recipe", "debug", "--num-epochs", "1", "--num-songs", "1000", "--run-dir", "run")
ON = {"HOROVOD_SHARED_MEMORY": "1", "HOROVOD_IDLE_CYCLE_TIME": "500", "HOROVOD_CYCLE_TIME": "0.2"}

# A rank that comes late, three ranks on one core, a rank that disagrees.
RARE = [("late", 2, 1024), ("one core", 3, 1024), ("one rank says no", 2, 0)]


def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def wait_for(files: list[Path], timeout_s: float) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while not all(file.exists() for file in files) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [file.read_text() for file in files]


@pytest.mark.parametrize(
    ("how", "np", "block"),
    [("on", 2, 1024), ("no room", 2, 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in RARE)],
)
def test_means_are_right_wherever_they_are_computed(tmp_path: Path, how: str, np: int, block: int) -> None:
    """And a rank that comes late costs the others no core; ranks that share a core do not wait for their turn to poll."""
    done = run(mpirun(np, "--bind-to", "none", "python", program(tmp_path), how, str(block)), timeout_s=120, env=ON)
    without = (
        "The ranks share no memory: rank 0 cannot create 9 MiB of memory (File too large). Gradients go through MPI"
    )
    assert done.stderr.count(without) == (how == "no room"), done.stderr


@pytest.mark.parametrize(
    ("how", "carrier"),
    [
        ("on", "the memory that the ranks of this host share"),
        ("no room", "MPI, not shared memory: a rank could not open what they need. The warning of Horovod at the start has "),
        ("one rank says no", "MPI, not shared memory: HOROVOD_SHARED_MEMORY is not 1 on rank 1"),
        ("fp16", "MPI, in numbers of 16 bits"),
    ],
)  # fmt: skip
def test_a_run_tells_what_carries_its_gradients(tmp_path: Path, how: str, carrier: str) -> None:
    rank = ["hvd-train", "train", *TINY, *(("--compression", "fp16") if how == "fp16" else ())]
    if how == "no room":
        rank = ["python", "-c", TRAIN, *rank[1:]]
    no = ["env", "HOROVOD_SHARED_MEMORY=0"] if how == "one rank says no" else []
    done = run(mpirun(1, *rank, ":", "-np", "1", *no, *rank), timeout_s=120, cwd=tmp_path)
    found = json.loads((tmp_path / "run" / "report.json").read_text())["found"]["gradients"]
    assert found.startswith(carrier), found
    assert found in " ".join(done.stdout.split()) or how == "no room"  # a long line is broken


@pytest.mark.slow
def test_a_rank_whose_peer_has_ended_leaves_its_wait(tmp_path: Path) -> None:
    """With mpirun frozen nobody else ends it. However a job ends, its memory stays nowhere: it has no name."""
    command = mpirun(3, "--bind-to", "none", "python", program(tmp_path), "killed", "1024")
    with started(command, timeout_s=150, env=ON, cwd=tmp_path) as job:
        processes = wait_for([tmp_path / f"process.{rank}" for rank in range(3)], timeout_s=100)
        assert "/memfd:horovod (deleted)" in Path(f"/proc/{processes[0]}/maps").read_text()
        os.kill(job.pid, signal.SIGSTOP)
        os.kill(int(processes[1]), signal.SIGKILL)  # its peers wait for 10 s to be ended
        for why in wait_for([tmp_path / f"ended.{rank}" for rank in (0, 2)], timeout_s=40):
            assert "The process of rank 1 has ended, and this rank waits for it" in why
