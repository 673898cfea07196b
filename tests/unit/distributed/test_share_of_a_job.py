"""The share of a batch job: where other jobs run on the same host, threads follow it and nothing is bound to cores."""

from __future__ import annotations

import dataclasses

from hvd_train.config.distributed import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.cores import Machine
from hvd_train.distributed.placement import Placement

LAUNCHER_S = {"OMPI_MCA_orte_bound_at_launch": "1"}
ALL = (0, 1, 2, 3)


def placement(local_rank: int = 0) -> Placement:
    return Placement(local_rank, 2, local_rank, 2, "h", "mpirun")


def test_two_jobs_of_one_cpu_on_a_host_do_not_both_take_its_first_core() -> None:
    """mpirun -np 1 binds to core 0, in each job. Seen under PBS without cpusets."""
    alone = dataclasses.replace(placement(), size=1, local_size=1)
    host = Machine((0,), launcher_cpus=ALL, granted=1)
    chosen = settings.choose(alone, host, LAUNCHER_S)
    assert (chosen.cores, chosen.num_threads) == (ALL, 1)
    assert "the default binding of mpirun to cores 0 is undone" in chosen.describe()
    assert "the batch job has 1 of the 4 CPUs of this host, so no rank is bound to cores" in chosen.describe()
    asked = settings.choose(alone, host, LAUNCHER_S | {"OMPI_MCA_hwloc_base_binding_policy": "core"})
    assert asked.cores is None
    assert "other jobs on this host may use them, too: start it with --bind-to none" in asked.describe()
    unbound = settings.choose(alone, dataclasses.replace(host, cpus=ALL), {})
    assert (unbound.cores, unbound.num_threads) == (None, 1)
    assert "undone" not in unbound.describe()


def test_ranks_of_a_job_that_shares_its_host_are_bound_to_no_core() -> None:
    host = Machine(ALL, launcher_cpus=ALL, granted=2)
    chosen = [settings.choose(placement(rank), host, {}) for rank in range(2)]
    assert [(one.cores, one.num_threads, one.oversubscribed) for one in chosen] == [(None, 1, False)] * 2
    assert chosen[0].granted == 2
    # MPI yields its core to the other job and to the other rank.
    groups = DistributedConfig(gradient_groups=1)
    assert settings.YIELD in settings.choose(placement(), host, {}, config=groups).variables


def test_a_job_of_several_cpus_a_rank_has_them_all_under_mpirun() -> None:
    """--cpus-per-task=2: mpirun bound each rank to one core, and the other idled."""
    host = Machine((0,), launcher_cpus=ALL, granted=4)
    chosen = settings.choose(placement(), host, LAUNCHER_S)
    assert (chosen.cores, chosen.num_threads) == ((0, 1), 2)
    assert "the default binding of mpirun to cores 0 is undone" in chosen.describe()
    # What was asked for, or hides its launcher behind a shell, is kept and told.
    for kept in (
        settings.choose(placement(), host, LAUNCHER_S | {"OMPI_MCA_rmaps_base_mapping_policy": "slot:PE=1"}),
        settings.choose(placement(), dataclasses.replace(host, launcher_cpus=(0,)), LAUNCHER_S),
    ):
        assert kept.cores is None
        assert "mpirun bound this rank to 1 of the 2 CPUs that the batch job gives it" in kept.describe()


def test_a_binding_that_is_the_right_one_is_not_called_undone() -> None:
    host = Machine((0,), launcher_cpus=(0, 1), granted=2)
    chosen = settings.choose(placement(), host, LAUNCHER_S)
    assert (chosen.cores, chosen.num_threads, chosen.notes) == (None, 1, ())


def test_without_a_job_or_the_setting_a_binding_stays() -> None:
    for host, config in (
        (Machine((0,), launcher_cpus=ALL), DistributedConfig()),
        (Machine((0,), launcher_cpus=ALL, granted=4), DistributedConfig(automatic=("threads",))),
    ):
        chosen = settings.choose(placement(), host, LAUNCHER_S, config=config)
        assert (chosen.cores, chosen.num_threads) == (None, 1)
