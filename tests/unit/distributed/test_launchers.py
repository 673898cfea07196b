"""The launchers: how the ranks of each are found, what it binds, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hvd_train.distributed.launchers import JOB_VARIABLES, LAUNCHERS, Launcher, detect_placement, launcher_of, table
from hvd_train.distributed.launchers.base import placement_of
from hvd_train.distributed.launchers.mpirun import Mpirun
from hvd_train.distributed.launchers.srun import Srun
from hvd_train.distributed.placement import Placement

MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
GLOO = {"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2", "HOROVOD_LOCAL_RANK": "1", "HOROVOD_LOCAL_SIZE": "2"}
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x3)"}
UNEQUAL = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}
JSRUN = {
    "JSM_NAMESPACE_RANK": "3",
    "JSM_NAMESPACE_SIZE": "4",
    "JSM_NAMESPACE_LOCAL_RANK": "1",
    "JSM_NAMESPACE_LOCAL_SIZE": "2",
}
MPIEXEC = {"PMI_RANK": "2", "PMI_SIZE": "3", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Placement(0, 1, 0, 1, "h", "")),
        (MPIRUN, Placement(3, 4, 1, 2, "h", "mpirun")),
        (GLOO, Placement(1, 2, 1, 2, "h", "horovodrun --gloo")),
        (SRUN, Placement(5, 6, 1, 2, "h", "srun")),
        (MPIEXEC, Placement(2, 3, 0, 1, "h", "mpiexec")),
        # mpirun inside a Slurm job: the job script's own variables do not count.
        (SRUN | MPIRUN, Placement(3, 4, 1, 2, "h", "mpirun")),
        (SRUN | MPIEXEC, Placement(2, 3, 0, 1, "h", "mpiexec")),
        # Three tasks on two hosts: the host's own count, not that of the first one.
        (UNEQUAL, Placement(2, 3, 0, 1, "h", "srun")),
        (
            UNEQUAL | {"SLURM_NODEID": "0", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"},
            Placement(1, 3, 1, 2, "h", "srun"),
        ),
        # srun --mpi=pmi2 sets what mpiexec sets.
        (UNEQUAL | {"PMI_RANK": "2", "PMI_SIZE": "3", "PMI_FD": "5"}, Placement(2, 3, 0, 1, "h", "srun")),
        (JSRUN, Placement(3, 4, 1, 2, "h", "jsrun")),
        (JSRUN | MPIRUN, Placement(3, 4, 1, 2, "h", "jsrun")),
        (JSRUN | MPIRUN | {"OMPI_COMM_WORLD_RANK": "0"}, Placement(0, 4, 1, 2, "h", "mpirun")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Placement(0, 1, 0, 1, "h", "")),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, Placement(1, 2, 0, 1, "h", "mpiexec")),
        ({"OMPI_COMM_WORLD_RANK": "x", "OMPI_COMM_WORLD_SIZE": "2"}, Placement(0, 1, 0, 1, "h", "")),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "2"}, Placement(0, 1, 0, 1, "h", "")),
    ],
)
def test_a_rank_finds_its_placement(environment: dict[str, str], expected: Placement) -> None:
    assert detect_placement(environment, host="h") == expected
    assert launcher_of(expected).name == expected.launcher


@pytest.mark.parametrize(
    ("environment", "bound"),
    [
        (MPIRUN | {"OMPI_MCA_orte_bound_at_launch": "1"}, True),
        (MPIRUN, False),
        (SRUN | {"SLURM_CPU_BIND_TYPE": "mask_cpu:"}, True),
        (SRUN | {"SLURM_CPU_BIND_TYPE": "none"}, False),
        (SRUN, False),
        (MPIEXEC | {"I_MPI_PIN_INFO": "x0"}, True),
        (MPIEXEC, False),
        (GLOO, False),
        (JSRUN, True),
        ({}, False),
        # What binds a job script does not bind what mpirun starts in it.
        (SRUN | MPIRUN | {"SLURM_CPU_BIND_TYPE": "mask_cpu:"}, False),
    ],
)
def test_each_knows_whether_it_has_bound_the_rank(environment: dict[str, str], bound: bool) -> None:
    assert launcher_of(detect_placement(environment)).has_bound_cores(environment) == bound


@pytest.mark.parametrize(
    ("environment", "prefix", "refused"),
    [
        (SRUN, "/env", True),
        (SRUN | {"PMIX_RANK": "5"}, "/env", False),
        (UNEQUAL | {"PMI_RANK": "2", "PMI_SIZE": "3"}, "/env", True),
        (UNEQUAL | {"PMI_RANK": "2", "PMI_SIZE": "3"}, "", False),  # an Open MPI of the site
        (SRUN, "", True),
        (MPIRUN, "/env", False),
        (MPIEXEC, "/env", False),
    ],
)
def test_srun_without_pmix_is_refused_before_mpi_starts(
    environment: dict[str, str], prefix: str, refused: bool
) -> None:
    said = launcher_of(detect_placement(environment)).refusal(environment, prefix, "horovod")
    assert (said is not None) == refused
    assert said is None or "srun --mpi=pmix" in said


def test_each_knows_what_mpi_needs_before_it_starts() -> None:
    assert Mpirun().variables("/env") == {"OPAL_PREFIX": "/env"}
    assert Mpirun().variables("") == {}
    assert Srun().variables("/env") == {"OPAL_PREFIX": "/env", "PMIX_MCA_psec": "native"}


def test_a_launcher_s_own_process_is_recognised() -> None:
    assert Mpirun().is_process(["/env/bin/mpirun", "-np", "2", "hvd-train"])
    assert Mpirun().is_process(["orterun"])
    assert not Mpirun().is_process(["python", "mpirun"])
    assert not Srun().is_process(["srun"])  # nothing looks for it


def test_names_are_unique_and_every_rank_variable_is_one_that_detect_reads() -> None:
    assert len({launcher.name for launcher in LAUNCHERS}) == len(LAUNCHERS)
    for environment in (MPIRUN, GLOO, SRUN, MPIEXEC, JSRUN):
        assert launcher_of(detect_placement(environment)).rank_variable in environment
    assert len(set(JOB_VARIABLES)) == len(JOB_VARIABLES) == 10


class Flux(Launcher):
    """A launcher from outside, in one class."""

    name = "flux run"
    rank_variable = "FLUX_TASK_RANK"

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        keys = ("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID")
        return placement_of(self.name, host, *(environment.get(key, "") for key in keys), "")


def test_a_new_launcher_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LAUNCHERS", (Flux(), *LAUNCHERS))
    environment = {"FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "2", "FLUX_TASK_LOCAL_ID": "1"}
    placement = detect_placement(environment, host="h")
    assert placement == Placement(1, 2, 0, 1, "h", "flux run")
    assert launcher_of(placement).variables("") == {}
