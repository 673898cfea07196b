"""Schedulers: the job from its environment, Slurm's commands and answers. All samples are those of real jobs."""

from __future__ import annotations

import pytest

from hvd_train.errors import UserError
from hvd_train.hostfiles.hostfile import Host
from hvd_train.schedulers.base import script
from hvd_train.schedulers.forms import clock
from hvd_train.schedulers.job import Resources
from hvd_train.schedulers.slurm import Slurm, expand_counts, expand_hosts
from hvd_train.schedulers.table import detect_job

SLURM = Slurm()


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "None"),
        ({"SLURM_JOB_ID": "7"}, "Slurm job 7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "Slurm job 7_2"),
        ({"PBS_JOBID": "123.server"}, "PBS job 123"),
        ({"PBS_JOBID": "123[4].server"}, "PBS job 123_4"),
        ({"JOB_ID": "5", "SGE_TASK_ID": "undefined"}, "Grid Engine job 5"),
        ({"JOB_ID": "5", "SGE_TASK_ID": "3"}, "Grid Engine job 5_3"),
        ({"JOB_ID": "5"}, "None"),
        ({"LSB_JOBID": "8", "LSB_JOBINDEX": "0"}, "LSF job 8"),
        ({"LSB_JOBID": "8", "LSB_JOBINDEX": "10"}, "LSF job 8_10"),
        ({"PBS_JOBID": "../../x"}, "PBS job "),
    ],
)
def test_jobs_and_tasks_of_arrays_are_read_from_the_environment(environment: dict[str, str], shown: str) -> None:
    assert str(detect_job(environment)) == shown


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("node1", ["node1"]),
        ("node[1-3]", ["node1", "node2", "node3"]),
        ("login,node[08-10,12],gpu-a", ["login", "node08", "node09", "node10", "node12", "gpu-a"]),
        ("r[1-2]n[1-2].lab", ["r1n1.lab", "r1n2.lab", "r2n1.lab", "r2n2.lab"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
    ],
)
def test_slurm_s_list_of_hosts_is_expanded(listed: str, names: list[str]) -> None:
    assert list(expand_hosts(listed)) == names


def test_the_allocation_has_the_slots_of_each_host() -> None:
    assert list(expand_counts("2(x2),1")) == [2, 2, 1]
    environment = {"SLURM_JOB_NODELIST": "node[1-3]", "SLURM_TASKS_PER_NODE": "2(x2),1"}
    assert SLURM.hosts(environment) == (Host("node1", 2), Host("node2", 2), Host("node3", 1))
    cpus = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_CPUS_PER_NODE": "8(x2)"}
    assert SLURM.hosts(cpus) == (Host("node1", 8), Host("node2", 8))


def test_an_allocation_that_is_not_whole_is_refused() -> None:
    with pytest.raises(UserError, match="SLURM_JOB_NODELIST is not set"):
        SLURM.hosts({})
    with pytest.raises(UserError, match=r"3 hosts \(node\[1-3\]\) but 2 counts of slots \(2\(x2\)\)"):
        SLURM.hosts({"SLURM_JOB_NODELIST": "node[1-3]", "SLURM_TASKS_PER_NODE": "2(x2)"})


def test_slurm_s_commands() -> None:
    assert SLURM.submit_command("job.sh") == ["sbatch", "--parsable", "job.sh"]
    assert SLURM.status_command("7_2") == ["squeue", "--noheader", "--jobs=7_2", "--format=%T %r"]
    assert SLURM.time_left_command("7") == ["squeue", "--noheader", "--jobs=7", "--format=%L"]
    assert SLURM.cancel_command("7") == ["scancel", "7"]
    assert SLURM.requeue_command("7_2") == ["scontrol", "requeue", "7_2"]


@pytest.mark.parametrize(("output", "job_id"), [("1234\n", "1234"), ("1234;lab\n", "1234"), ("Welcome\n12\n", "12")])
def test_the_id_of_a_submitted_job(output: str, job_id: str) -> None:
    assert SLURM.submitted_id(output) == job_id


def test_no_id_is_an_error_that_shows_what_was_printed() -> None:
    with pytest.raises(UserError, match="no job id, but: queued"):
        SLURM.submitted_id("queued\n")


@pytest.mark.parametrize(
    ("output", "state"),
    [("PENDING\n", "pending"), ("RUNNING\n", "running"), ("COMPLETING\n", "ending"), ("", "gone"), ("\n", "gone")],
)
def test_the_state_of_a_job(output: str, state: str) -> None:
    assert SLURM.state(output, "7") == state


@pytest.mark.parametrize(
    ("output", "seconds"),
    [
        ("59", 59),
        ("4:05\n", 245),
        ("2:03:04\n", 7384),
        ("1-02:03:04\n", 93784),
        ("0:00\n", 0),
        ("UNLIMITED\n", None),
        ("NOT_SET\n", None),
        ("INVALID\n", None),
        ("", None),
    ],
)
def test_the_time_left(output: str, seconds: float | None) -> None:
    assert SLURM.time_left_s(output, "7") == seconds


def test_a_job_script_asks_for_what_is_wanted() -> None:
    wanted = Resources(
        name="songs", num_hosts=2, ranks_per_host=4, time_limit_s=5400, memory_mb_per_rank=2000, queue="gpu"
    )
    assert script(SLURM, wanted, ["mpirun hvd-train train"]).splitlines() == [
        "#!/bin/bash",
        "#SBATCH --job-name=songs",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem-per-cpu=2000M",
        "#SBATCH --time=01:30:00",
        "#SBATCH --signal=B:USR1@120",
        "#SBATCH --partition=gpu",
        "#SBATCH --open-mode=append",
        "#SBATCH --no-kill",
        "#SBATCH --requeue",
        "",
        "mpirun hvd-train train",
    ]
    assert clock(90061) == "25:01:01"
