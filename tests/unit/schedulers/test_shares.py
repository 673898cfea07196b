"""The CPUs that a job was given on one host, as each scheduler says it. The samples are those of real jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.schedulers.table import cpus_of_job, unused_hosts

SLURM = {"SLURM_JOB_ID": "5", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_CPUS_PER_NODE": "4,2"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_CPUS_ON_NODE": "1", "SLURMD_NODENAME": "node1"}
LSF = {"LSB_JOBID": "8"}


@pytest.mark.parametrize(
    ("environment", "host", "expected"),
    [
        ({}, "node1", None),
        (SLURM, "node1", 4),
        (SLURM, "node2.cluster", 2),
        (SLURM, "elsewhere", None),
        (SLURM | {"SLURMD_NODENAME": "node2"}, "its-own-name", 2),
        (SLURM | {"SLURM_JOB_CPUS_PER_NODE": "4(x2)"}, "node2", 4),
        (SLURM | STEP, "node1", 1),
        # The daemon of mpirun is a step of one task, and the ranks below it have the job's CPUs.
        (SLURM | STEP | {"OMPI_COMM_WORLD_RANK": "0"}, "node1", 4),
        ({"SLURM_JOB_ID": "5", "SLURM_CPUS_ON_NODE": "3"}, "node1", 3),
        ({"SLURM_JOB_ID": "5", "SLURM_CPUS_ON_NODE": "many"}, "node1", None),
        ({"PBS_JOBID": "7.head", "NCPUS": "1"}, "node1", 1),
        ({"PBS_JOBID": "7.head"}, "node1", None),
        ({"JOB_ID": "9", "SGE_TASK_ID": "undefined", "NSLOTS": "1", "NHOSTS": "1"}, "node1", 1),
        # On a host that does not see PE_HOSTFILE.
        ({"JOB_ID": "9", "SGE_TASK_ID": "undefined", "NSLOTS": "4", "NHOSTS": "2", "PE_HOSTFILE": "/no"}, "node2", 2),
        (LSF | {"LSB_MCPU_HOSTS": "node1 4 node2 2"}, "node2", 2),
        (LSF | {"LSB_MCPU_HOSTS": "node1 4 node2 2"}, "login", None),
        (LSF | {"LSB_DJOB_NUMPROC": "3"}, "node1", 3),
        (LSF, "node1", None),
        # Tasks of several cores each: LSF counts tasks, and binds them.
        (LSF | {"LSB_MCPU_HOSTS": "node1 4", "LSB_AFFINITY_HOSTFILE": "/f"}, "node1", None),
    ],
)
def test_each_scheduler_says_how_many(environment: dict[str, str], host: str, expected: int | None) -> None:
    assert cpus_of_job(environment, host) == expected


@pytest.mark.parametrize(
    ("lines", "more", "expected"),
    [
        ("node1\nnode1\nnode2\nnode2\n", {"NCPUS": "2"}, (2, 2)),  # select=2:ncpus=2:mpiprocs=2
        ("node1\nnode2\n", {"NCPUS": "4"}, (4, 4)),  # select=2:ncpus=4:mpiprocs=1
        ("node1.east\nnode1.east\nnode2.east\n", {"NCPUS": "4"}, (4, 2)),
        ("node1\nnode1\nnode2\n", {}, (2, 1)),  # Torque
        # select=2:ncpus=6:mpiprocs=2:ompthreads=3: NCPUS is that of a rank then.
        ("node1\nnode1\nnode2\nnode2\n", {"NCPUS": "3", "HVD_TRAIN_CPUS_PER_RANK": "3"}, (6, 6)),
        ("", {"NCPUS": "2"}, (2, 2)),
    ],
)
def test_the_nodefile_of_pbs(
    tmp_path: Path, lines: str, more: dict[str, str], expected: tuple[int | None, int | None]
) -> None:
    (tmp_path / "nodes").write_text(lines)
    environment = {"PBS_JOBID": "7.head", "PBS_NODEFILE": str(tmp_path / "nodes"), **more}
    assert (cpus_of_job(environment, "node1"), cpus_of_job(environment, "node2")) == expected


def test_the_hostfile_of_a_parallel_environment_and_of_lsf(tmp_path: Path) -> None:
    (tmp_path / "pe").write_text("node1 2 all.q@node1 UNDEFINED\nnode2 1 all.q@node2 UNDEFINED\nnode2 1 more.q\n")
    job = {"JOB_ID": "9", "SGE_TASK_ID": "undefined", "NSLOTS": "4", "NHOSTS": "2", "PE_HOSTFILE": f"{tmp_path}/pe"}
    assert (cpus_of_job(job, "node1"), cpus_of_job(job, "node2.cluster")) == (2, 2)
    (tmp_path / "djob").write_text("node1\nnode2\nnode2\n")
    assert cpus_of_job(LSF | {"LSB_DJOB_HOSTFILE": str(tmp_path / "djob"), "LSB_DJOB_NUMPROC": "3"}, "node2") == 2


def test_hosts_of_the_job_on_which_no_rank_runs() -> None:
    """As mpirun places ranks that knows nothing of the scheduler: all on the first host, exit code 0."""
    job = {"SLURM_JOB_ID": "5", "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_TASKS_PER_NODE": "2(x3)"}
    assert unused_hosts(job, ["node1.cluster"]) == ("node2", "node3")
    assert unused_hosts(job, ["node1", "node2", "node3"]) == ()
    assert unused_hosts({}, ["node1"]) == ()
    assert unused_hosts({"PBS_JOBID": "7.head", "PBS_NODEFILE": "/nothing"}, ["node1"]) == ()


def test_supervised_ranks_on_other_hosts_know_their_job() -> None:
    from hvd_train.cluster.supervise.command import exported

    for job in (
        {"PBS_JOBID": "7.head", "NCPUS": "2"},
        {"JOB_ID": "9", "SGE_TASK_ID": "1", "NSLOTS": "4", "NHOSTS": "2"},
    ):
        there = {name: job[name] for name in exported(job)}
        assert cpus_of_job(there, "node2") == 2
