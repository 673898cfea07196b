"""Who a process is, which cores and variables it gets: read from a mapping, chosen purely."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train import settings
from hvd_train.ranks import Place, place_from

MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
GLOO = {"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2", "HOROVOD_LOCAL_RANK": "1", "HOROVOD_LOCAL_SIZE": "2"}
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x3)"}
MPIEXEC = {"PMI_RANK": "2", "PMI_SIZE": "3", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place(0, 1, 0, 1, "h", "")),
        (MPIRUN, Place(3, 4, 1, 2, "h", "mpirun")),
        (GLOO, Place(1, 2, 1, 2, "h", "horovodrun --gloo")),
        (SRUN, Place(5, 6, 1, 2, "h", "srun")),
        (MPIEXEC, Place(2, 3, 0, 1, "h", "mpiexec")),
        # mpirun inside a Slurm job: the job script's own variables do not count.
        (SRUN | MPIRUN, Place(3, 4, 1, 2, "h", "mpirun")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Place(0, 1, 0, 1, "h", "")),
        ({"OMPI_COMM_WORLD_RANK": "x", "OMPI_COMM_WORLD_SIZE": "2"}, Place(0, 1, 0, 1, "h", "")),
    ],
)
def test_place(environment: dict[str, str], expected: Place) -> None:
    assert place_from(environment, host="h") == expected


@given(num_cores=st.integers(1, 128), local_size=st.integers(1, 128), first=st.integers(0, 9))
def test_cores_are_inside_the_cpuset_and_disjoint_where_there_are_enough(
    num_cores: int, local_size: int, first: int
) -> None:
    cores = tuple(range(first, first + num_cores * 2, 2))
    parts = [settings.own_cores(cores, rank, local_size) for rank in range(local_size)]
    assert all(part and set(part) <= set(cores) for part in parts)
    if local_size <= num_cores:
        assert sum(map(len, parts)) == len(set().union(*parts)) == num_cores
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    else:
        assert all(len(part) == 1 for part in parts)


def place(local_rank: int = 0, local_size: int = 2, size: int = 2) -> Place:
    return Place(local_rank, size, local_rank, local_size, "h", "mpirun")


def test_one_rank_keeps_all_cores_and_starts_nothing_of_mpi() -> None:
    chosen = settings.choose(Place(0, 1, 0, 1, "h", ""), (0, 1, 2), {}, prefix="/env")
    assert chosen.cores is None
    assert chosen.num_threads == 3
    assert set(chosen.variables) == {"OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL"}


def test_ranks_share_the_cores_and_get_the_measured_settings() -> None:
    chosen = settings.choose(place(1), (0, 1, 2, 3), {}, prefix="/env")
    assert (chosen.cores, chosen.num_threads, chosen.oversubscribed) == ((2, 3), 2, False)
    assert chosen.variables == {
        "OMP_NUM_THREADS": "2",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "HOROVOD_CYCLE_TIME": "0.2",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OPAL_PREFIX": "/env",
    }


def test_the_user_s_own_variables_win() -> None:
    own = {"HOROVOD_CYCLE_TIME": "3", "OMP_NUM_THREADS": "7"}
    chosen = settings.choose(place(), (0, 1), own)
    assert chosen.kept == own
    assert not set(chosen.variables) & set(own)
    environment = dict(own)
    settings.apply(dataclasses.replace(chosen, cores=None), environment)
    assert environment["HOROVOD_CYCLE_TIME"] == "3"
    assert environment["OMPI_MCA_mpi_yield_when_idle"] == "1"


def test_under_srun_no_warning_about_munge() -> None:
    srun = dataclasses.replace(place(), launcher="srun")
    assert settings.choose(srun, (0, 1), {}).variables["PMIX_MCA_psec"] == "native"
    assert "PMIX_MCA_psec" not in settings.choose(place(), (0, 1), {}).variables


def test_a_launcher_s_binding_is_kept() -> None:
    for cores in ((1,), (2, 3)):
        bound = settings.choose(place(1), cores, {"OMPI_MCA_orte_bound_at_launch": "1"})
        assert (bound.cores, bound.num_threads, bound.oversubscribed) == (None, len(cores), False)


def test_more_ranks_than_cores_is_said() -> None:
    chosen = settings.choose(place(3, local_size=4, size=4), (0, 1), {})
    assert (chosen.cores, chosen.num_threads, chosen.oversubscribed) == ((1,), 1, True)
