"""The laboratory itself: real schedulers start processes on both nodes, and nothing of it stays."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
from batch import begin_now, script, slurm_state, wait_for_slurm_state
from lab import Lab

SITES = ("slurm", "gridengine")
PROGRAM = "from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1), MPI.Get_processor_name())"
EVERY_RANK = ["4 node1", "4 node1", "4 node2", "4 node2"]


def test_slurm_starts_tasks_on_both_nodes(lab: Lab) -> None:
    assert sorted(lab.on("head", "srun", "--quiet", "-N2", "-n2", "hostname").stdout.split()) == ["node1", "node2"]


def test_slurm_runs_a_job_of_mpirun(lab: Lab) -> None:
    command = f"mpirun --bind-to none python -c '{PROGRAM}'"
    options = ["--wait", "--nodes=2", "--ntasks-per-node=2", "--output=slurm.log", "--wrap", command]
    lab.on("head", "sbatch", *options, timeout_s=60)
    assert sorted((lab.home / "slurm.log").read_text().splitlines()) == EVERY_RANK


def test_a_job_that_slurm_queued_again_can_begin_at_once(lab: Lab) -> None:
    """Each is queued again as early in a second as it can be: begun within that second, it would fail."""
    lines = """
        [ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0
        trap '' TERM
        while nanoseconds=$(date +%N); [ "${nanoseconds#0}" -gt 80000000 ]; do :; done
        scontrol requeue $SLURM_JOB_ID
    """
    for number in range(4):
        run = script(lab, "slurm", "--requeue", lines=lines, name=f"again-{number}")
        show = ("scontrol", "show", "job", run.id)
        run.wait_for(lambda show=show: "Restarts=1" in lab.on("head", *show).stdout, "the requeue")
        begin_now(lab, run)
        wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
        assert slurm_state(lab, run.id) == "COMPLETED"


def test_grid_engine_runs_a_job_of_mpirun(lab: Lab) -> None:
    script = f"""#!/bin/bash
awk '{{print $1 " slots=" $2}}' $PE_HOSTFILE >hosts
mpirun --hostfile hosts --bind-to none -mca plm_rsh_agent "qrsh -inherit -nostdin -V" -x PATH python -c '{PROGRAM}'
"""
    (lab.home / "job.sh").write_text(script)
    options = ["-sync", "y", "-cwd", "-j", "y", "-o", "gridengine.log", "-pe", "mpi", "4", "-v", "PATH"]
    lab.on("head", "qsub", *options, "job.sh", timeout_s=60)
    assert sorted((lab.home / "gridengine.log").read_text().splitlines()) == EVERY_RANK


def test_nothing_stays_of_a_laboratory(lab: Lab, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    second = Lab.up(tmp_path / "lab", ["slurm"])
    assert second.pids is not None
    pids = {second.pids["room"], *(child.pid for child in psutil.Process(second.pids["room"]).children(recursive=True))}
    assert len(pids) > len(second.pids), "no daemon runs: the test says nothing"
    second.down()
    assert not pids & set(psutil.pids())
    assert not second.folder.exists()
    assert not any(map(os.path.exists, second.groups))
