"""When `--allreduce two-levels` and `--wire-precision` become variables of Horovod, and what takes precedence over them."""

from __future__ import annotations

import pytest

from hvd_train.config.distributed import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.allreduce import OF_MPI_S_ALLREDUCE
from hvd_train.distributed.cores import Machine
from hvd_train.distributed.placement import Placement
from hvd_train.errors import ConfigError
from hvd_train.horovod_build import SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION

MACHINE = Machine((0, 1), launcher_cpus=(0, 1))
ONE_HOST = Placement(0, 2, 0, 2, "h", "mpirun")
TWO_HOSTS = Placement(0, 4, 0, 2, "h", "mpirun")
TWO_LEVELS_ASKED = DistributedConfig(allreduce="two-levels")


def test_two_levels_are_set_between_hosts_where_asked_for() -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, config=TWO_LEVELS_ASKED)
    assert chosen.variables[TWO_LEVELS] == "1"
    assert WIRE_PRECISION not in chosen.variables
    assert SHARED_MEMORY not in chosen.variables
    assert TWO_LEVELS not in settings.choose(TWO_HOSTS, MACHINE, {}).variables
    one_host = settings.choose(ONE_HOST, MACHINE, {}, config=TWO_LEVELS_ASKED).variables
    assert TWO_LEVELS not in one_host
    assert one_host[SHARED_MEMORY] == "1"


def test_rounding_between_hosts_is_set_with_two_levels() -> None:
    config = DistributedConfig(allreduce="two-levels", wire_precision="bfloat16")
    assert settings.choose(TWO_HOSTS, MACHINE, {}, config=config).variables[WIRE_PRECISION] == "bfloat16"
    with pytest.raises(ConfigError, match="two-levels"):
        DistributedConfig(wire_precision="bfloat16").check()
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
