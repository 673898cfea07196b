"""When `--allreduce two-levels` and `--wire-precision` become variables of Horovod, and what takes precedence over them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hvd_train.config.distributed import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.allreduce import OF_MPI_S_ALLREDUCE, groups_for, in_its_place
from hvd_train.distributed.cores import Machine, read_machine
from hvd_train.distributed.placement import Placement
from hvd_train.errors import ConfigError
from hvd_train.horovod_build import SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION

MACHINE = Machine((0, 1), launcher_cpus=(0, 1))
ONE_HOST = Placement(0, 2, 0, 2, "h", "mpirun")
TWO_HOSTS = Placement(0, 4, 0, 2, "h", "mpirun")
TWO_LEVELS_ASKED = DistributedConfig(allreduce="two-levels")


@pytest.mark.parametrize("config", [TWO_LEVELS_ASKED, DistributedConfig()], ids=["asked for", "by default"])
def test_two_levels_are_set_between_hosts(config: DistributedConfig) -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, config=config)
    assert chosen.variables[TWO_LEVELS] == "1"
    assert WIRE_PRECISION not in chosen.variables
    assert SHARED_MEMORY not in chosen.variables
    assert chosen.notes == ()
    one_host = settings.choose(ONE_HOST, MACHINE, {}, config=TWO_LEVELS_ASKED).variables
    assert TWO_LEVELS not in one_host
    assert one_host[SHARED_MEMORY] == "1"


def test_rounding_between_hosts_is_set_with_two_levels() -> None:
    for allreduce in ("auto", "two-levels"):
        config = DistributedConfig(allreduce=allreduce, wire_precision="bfloat16")
        config.check()
        assert settings.choose(TWO_HOSTS, MACHINE, {}, config=config).variables[WIRE_PRECISION] == "bfloat16"
    with pytest.raises(ConfigError, match="two-levels"):
        DistributedConfig(allreduce="ring", wire_precision="bfloat16").check()
    with pytest.raises(ConfigError, match="compression"):
        DistributedConfig(allreduce="two-levels", wire_precision="float16", compression="fp16").check()


@pytest.mark.parametrize("name", OF_MPI_S_ALLREDUCE)
def test_a_variable_that_chooses_an_allreduce_wins_over_two_levels(name: str) -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, {name: "4"}, config=TWO_LEVELS_ASKED)
    assert TWO_LEVELS not in chosen.variables
    assert f"not in two levels: {name} is set and takes precedence" in chosen.describe()


def test_another_horovod_has_no_two_levels_and_says_so() -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, added=(SHARED_MEMORY,), config=TWO_LEVELS_ASKED)
    assert TWO_LEVELS not in chosen.variables
    assert "this Horovod has no two levels" in chosen.describe()


def test_mpi_exchanges_by_default_where_it_may_use_a_faster_network() -> None:
    fast = dataclasses.replace(MACHINE, rdma="mlx5_0")
    chosen = settings.choose(TWO_HOSTS, fast, {})
    assert TWO_LEVELS not in chosen.variables
    assert "MPI may use mlx5_0" in chosen.describe()
    assert settings.choose(TWO_HOSTS, fast, {}, config=TWO_LEVELS_ASKED).variables[TWO_LEVELS] == "1"
    assert settings.choose(ONE_HOST, fast, {}).notes == ()


@pytest.mark.parametrize("kind", ["infiniband", "cxi"])
def test_a_device_for_rdma_is_found(kind: str, tmp_path: Path) -> None:
    assert read_machine(tmp_path).rdma == ""
    (tmp_path / "sys/class" / kind / "mlx5_1").mkdir(parents=True)
    (tmp_path / "sys/class" / kind / "mlx5_0").mkdir(parents=True)
    assert read_machine(tmp_path).rdma == "mlx5_0"


def test_mpi_s_own_choice_can_be_asked_for() -> None:
    for place in (ONE_HOST, TWO_HOSTS):
        chosen = settings.choose(place, MACHINE, {}, config=DistributedConfig(allreduce="mpi"))
        assert not {TWO_LEVELS, SHARED_MEMORY} & set(chosen.variables)
        assert chosen.notes == ()


def test_rounding_that_is_asked_for_is_not_left_out_silently() -> None:
    config = DistributedConfig(automatic=("threads",), wire_precision="bfloat16")
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, config=config)
    assert not {TWO_LEVELS, WIRE_PRECISION} & set(chosen.variables)
    assert "not in two levels: it is not among the automatic settings" in chosen.describe()


def test_nothing_is_told_where_nobody_asked_and_nothing_is_lost() -> None:
    """Another Horovod, or an allreduce that the user has chosen: as before."""
    assert settings.choose(TWO_HOSTS, MACHINE, {}, added=(SHARED_MEMORY,)).notes == ()
    assert settings.choose(TWO_HOSTS, MACHINE, {"HOROVOD_CPU_OPERATIONS": "MPI"}).notes == ()


@pytest.mark.parametrize(("gbit_per_s", "groups"), [(0.1, 2), (1.0, 2), (3.9, 2), (4.0, 1), (25.0, 1)])
def test_gradients_leave_in_groups_on_slow_links(gbit_per_s: float, groups: int) -> None:
    assert groups_for(gbit_per_s) == groups


def test_what_carries_gradients_instead_is_told_with_the_reason() -> None:
    assert in_its_place([False] * 4, one_host=False) == ("MPI", "")
    assert in_its_place([True] * 4, one_host=False, other="Gloo") == (
        "Gloo",
        ", not two levels: a rank could not open what they need. The warning of Horovod at the start has the rank and the reason",
    )
    assert in_its_place([True, True, False], one_host=True) == (
        "MPI",
        ", not shared memory: HOROVOD_SHARED_MEMORY is not 1 on rank 2",
    )
