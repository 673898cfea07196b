"""Horovod's thread sleeps while there is nothing to send, and wakes when there is (hvd_train/horovod_build/patches).

The cycles are made so long that a thread which did not wake would miss the tests' limits by far.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import mpirun, run

PROGRAM = """
import sys, time
import horovod.tensorflow as hvd
import tensorflow as tf

mine = hvd.ProcessSet([0])
hvd.init(process_sets=[mine] if "sets" in sys.argv else None)
rank = hvd.rank()

def mean(name, value=1.0):
    return float(hvd.allreduce(tf.constant(value), name=name))

began = time.monotonic()
if "late" in sys.argv:
    mean("x")
    computed = time.process_time()
    if rank == 0:
        time.sleep(3)
    mean("x")
    computed = time.process_time() - computed
    assert computed < 1, computed
elif "join" in sys.argv:
    for step in range(20 if rank else 5):
        mean("x")
    assert hvd.join() >= 0
elif "sets" in sys.argv:
    for step in range(5):
        mean("x")
    if rank == 0:
        assert float(hvd.allreduce(tf.constant(3.0), name="own", process_set=mine)) == 3.0
    mean("end")
else:
    for step in range(20):
        if rank == step % 2 and step % 5 == 0:
            time.sleep(0.2)  # the others wait for it
        assert mean("x", float(rank)) == 0.5
        parts = hvd.grouped_allreduce([tf.ones(7), tf.ones((300, 1000))], name="group")
        assert all(float(tf.reduce_mean(part)) == 1.0 for part in parts)
        assert hvd.allgather_object(step, name="o") == [step, step]
took = time.monotonic() - began
if rank == 0:
    print(f"took {took:.2f} s")
hvd.shutdown()
"""


def took(tmp_path: Path, *arguments: str, **cycles: str) -> float:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run(mpirun(2, "python", program, *arguments), timeout_s=120, env=cycles)
    return float(done.stdout.split("took ")[1].split()[0])


def test_it_wakes_for_what_is_enqueued(tmp_path: Path) -> None:
    """About 120 exchanges: a thread that looked every second would need minutes, and one that needed a second look for some
    of them seconds for each: on a rank with one core it may come to its next cycle only when the next exchange is enqueued."""
    assert took(tmp_path, HOROVOD_CYCLE_TIME="1000", HOROVOD_IDLE_CYCLE_TIME="1000") < 60


def test_a_rank_that_waits_leaves_its_core_alone(tmp_path: Path) -> None:
    """MPI polls: it took all of the three seconds that the other rank comes late."""
    assert took(tmp_path, "late", HOROVOD_IDLE_CYCLE_TIME="50") > 3


@pytest.mark.slow
def test_without_the_variable_it_looks_once_in_a_cycle(tmp_path: Path) -> None:
    assert took(tmp_path, "sets", HOROVOD_CYCLE_TIME="300") > 1


@pytest.mark.slow
def test_ranks_that_have_joined_and_other_process_sets_do_not_wait_for_it(tmp_path: Path) -> None:
    for which in ("join", "sets"):
        assert took(tmp_path, which, HOROVOD_CYCLE_TIME="1", HOROVOD_IDLE_CYCLE_TIME="2000") < 10
