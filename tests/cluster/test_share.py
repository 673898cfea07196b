"""A job's own CPUs, hosts and launch agent under real schedulers. No rank trains: each says where it is and what it got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

SITES = ("slurm", "gridengine")
SAY = """
import json, os, socket
from hvd_train.distributed import detect_placement, read_machine, settings
from hvd_train.schedulers import cpus_of_job
placement = detect_placement(os.environ)
machine = read_machine(granted=cpus_of_job(os.environ, socket.gethostname()))
chosen = settings.choose(placement, machine, os.environ)
where = [placement.rank, placement.size, placement.local_rank, placement.local_size, placement.host, placement.launcher]
print(json.dumps({"where": where, "granted": machine.granted, "cores": chosen.cores, "threads": chosen.num_threads}))
"""


@pytest.fixture(scope="module")
def program(lab: Lab) -> Path:
    path = lab.home / "say.py"
    path.write_text(SAY)
    path.chmod(0o644)
    return path


def said(text: str) -> list[dict[str, Any]]:
    """What each rank said, by rank."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return sorted(found, key=lambda one: one["where"][0])


def test_three_tasks_of_srun_on_two_hosts_know_their_own(lab: Lab, program: Path) -> None:
    done = lab.on("head", "srun", "-N2", "-n3", "python", str(program), timeout_s=120)
    assert [one["where"] for one in said(done.stdout)] == [
        [0, 3, 0, 2, "node1", "srun"],
        [1, 3, 1, 2, "node1", "srun"],
        [2, 3, 0, 1, "node2", "srun"],
    ]
    assert [one["granted"] for one in said(done.stdout)] == [2, 2, 1]


def test_a_rank_of_two_cpus_under_mpirun_has_both(lab: Lab, program: Path) -> None:
    options = [
        "--wait",
        "-N1",
        "-n1",
        "--cpus-per-task=2",
        "--output=two.log",
        "--wrap",
        f"mpirun -np 1 python {program}",
    ]
    lab.on("head", "sbatch", *options, timeout_s=120)
    (rank,) = said((lab.home / "two.log").read_text())
    assert (rank["granted"], rank["cores"], rank["threads"]) == (2, [0, 1], 2)


def test_a_job_of_one_slot_shares_its_host_and_takes_no_core(lab: Lab, program: Path) -> None:
    """mpirun binds one rank to core 0, in every such job."""
    (lab.home / "one.sh").write_text(f"#!/bin/bash\nmpirun -np 1 python {program}\n")
    lab.on("head", "qsub", "-sync", "y", "-cwd", "-j", "y", "-o", "one.log", "-v", "PATH", "one.sh", timeout_s=120)
    (rank,) = said((lab.home / "one.log").read_text())
    assert (rank["granted"], rank["cores"], rank["threads"]) == (1, [0, 1], 1)


def test_mpirun_reaches_all_hosts_of_a_parallel_environment(lab: Lab, program: Path) -> None:
    """With the hostfile of the job, and qrsh, which Open MPI finds by itself."""
    script = "#!/bin/bash\nhvd-train hostfile job >pe.hosts\n"
    script += f"mpirun -np 4 --hostfile pe.hosts --bind-to none -x PATH python {program}\n"
    (lab.home / "pe.sh").write_text(script)
    options = ["-sync", "y", "-cwd", "-j", "y", "-o", "pe.log", "-pe", "mpi", "4", "-v", "PATH"]
    lab.on("head", "qsub", *options, "pe.sh", timeout_s=120)
    # Grid Engine puts either of them first.
    assert sorted((lab.home / "pe.hosts").read_text().splitlines()) == ["node1 slots=2", "node2 slots=2"]
    ranks = said((lab.home / "pe.log").read_text())
    assert sorted(one["where"][4] for one in ranks) == ["node1", "node1", "node2", "node2"]
