"""Ranks that MPI cannot join are refused with one message, by the environment that srun and another mpiexec give."""

from __future__ import annotations

import shutil
import time

import pytest
from processes import run, started

SRUN = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0"}
# The ranks of a real mpirun around the tests are none of these.
TRAIN = ["hvd-train", "train", "--recipe", "debug"]


def of_rank(rank: int) -> dict[str, str | None]:
    return {**SRUN, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "PMIX_RANK": None, "PMI_RANK": None}


def test_srun_without_pmix_is_told_once_before_mpi_starts() -> None:
    began = time.monotonic()
    with started(TRAIN, timeout_s=60, env=of_rank(1)) as other:
        root = run(TRAIN, timeout_s=60, env=of_rank(0), ok=False)
        silent = other.wait(60)
    assert (root.code, silent.code) == (3, 3)
    assert root.output.startswith("error: srun started these ranks without PMIx")
    assert root.output.count("\n") == 1
    assert silent.output == ""
    assert time.monotonic() - began < 40


def test_ranks_of_another_mpi_do_not_train_alone() -> None:
    """As mpiexec of MPICH and Intel MPI start them. Our Open MPI knows nothing of it: each rank is rank 0 of 1 there."""
    hydra = {"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}
    done = run([*TRAIN, "--watchdog-s", "30"], timeout_s=120, env=hydra, ok=False)
    assert done.code == 3, str(done)
    assert "mpiexec started this process as rank 0 of 2, but Horovod sees rank 0 of 1" in done.output
    assert "Traceback" not in done.output


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpiexec.hydra") is None, reason="MPICH (Debian: mpich) is not installed")
def test_the_real_mpiexec_of_mpich_is_refused() -> None:
    done = run(["mpiexec.hydra", "-n", "2", *TRAIN], timeout_s=120, ok=False)
    assert done.code not in (0, None), str(done)
    assert "but Horovod sees rank 0 of 1" in done.output
