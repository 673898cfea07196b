"""`with open_world() as world:` in a program of a user: how it ends, and what it says about a TensorFlow that came first."""

from __future__ import annotations

import sys
from pathlib import Path

from processes import Finished, mpirun, run

PROGRAM = """
import sys, time

how = sys.argv[1]
if how == "late":
    import tensorflow
from hvd_train.distributed import open_world

with open_world(lean=how == "lean") as world:
    ranks = world.allgather(world.rank)
    if how == "fails" and world.rank == 1:
        raise ValueError("no such row")
    world.allgather("the others are here")
print(f"rank {world.rank} of {ranks} is at its end")
if how == "lean":
    loaded = {"matplotlib", "pandas", "scipy", "sklearn"} & set(sys.modules)
    import matplotlib, pandas
    print(f"rank {world.rank} had loaded {loaded or 'none of them'}")
"""


def ended(tmp_path: Path, how: str) -> Finished:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return run(mpirun(2, sys.executable, program, how), timeout_s=120, ok=None)


def test_the_block_closes_the_world_and_a_late_call_is_warned_of_once(tmp_path: Path) -> None:
    finished = ended(tmp_path, "late")
    assert finished.code == 0, finished.output
    for rank in (0, 1):
        assert f"rank {rank} of [0, 1] is at its end" in finished.output
    warned = [line for line in finished.output.splitlines() if "imported before open_world()" in line]
    assert len(warned) == 1, finished.output


def test_an_exception_on_one_rank_ends_the_job_that_waits_for_it(tmp_path: Path) -> None:
    finished = ended(tmp_path, "fails")
    assert finished.code == 1, finished.output
    assert "error: rank 1 on host " in finished.output
    assert "failed: ValueError: no such row" in finished.output
    assert 'raise ValueError("no such row")' in finished.output  # its traceback
    assert "imported before" not in finished.output
    assert "is at its end" not in finished.output


def test_a_program_of_ours_does_without_what_only_optional_parts_of_keras_need(tmp_path: Path) -> None:
    finished = ended(tmp_path, "lean")
    assert finished.code == 0, finished.output
    for rank in (0, 1):
        assert f"rank {rank} had loaded none of them" in finished.output
