"""Up to which size Open MPI sends between hosts at once, and what takes precedence. hvd_train.keras sets the same by itself."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from hvd_train.config.distributed import AUTOMATIC, DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.allreduce import EAGER_BYTES, EAGER_LIMIT, MAX_SEND_SIZE
from hvd_train.distributed.cores import Machine
from hvd_train.distributed.placement import Placement

MACHINE = Machine((0, 1), launcher_cpus=(0, 1))
ONE_HOST = Placement(0, 2, 0, 2, "h", "mpirun")
TWO_HOSTS = Placement(0, 4, 0, 2, "h", "mpirun")
SMALL = {EAGER_LIMIT: "32768"}
FILE_OF_KERAS = Path(settings.__file__).parents[1] / "keras" / "environment.py"


@pytest.mark.parametrize("allreduce", ["auto", "mpi", "ring"])
def test_it_is_set_between_hosts(allreduce: str) -> None:
    config = DistributedConfig(allreduce=allreduce)  # type: ignore[arg-type]
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, config=config)
    assert chosen.variables[EAGER_LIMIT] == "1048576"
    assert f"{EAGER_LIMIT}=1048576" in chosen.describe()
    assert MAX_SEND_SIZE not in chosen.variables
    assert EAGER_LIMIT not in settings.choose(ONE_HOST, MACHINE, {}, config=config).variables


def test_it_is_alike_on_hosts_that_are_not() -> None:
    """A rank with another limit would have no room for what the others send: Open MPI does not look."""
    fast = dataclasses.replace(MACHINE, rdma="mlx5_0")
    assert settings.choose(TWO_HOSTS, fast, {}).variables[EAGER_LIMIT] == "1048576"
    assert settings.choose(TWO_HOSTS, fast, {}, added=()).variables[EAGER_LIMIT] == "1048576"


def test_only_mpi_needs_it() -> None:
    for engine in ("tensorflow", "solo"):
        assert EAGER_LIMIT not in settings.choose(TWO_HOSTS, MACHINE, {}, engine=engine).variables
    without = DistributedConfig(automatic=tuple(name for name in AUTOMATIC if name != "mpi-eager"))
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, config=without, files=SMALL)
    assert not {EAGER_LIMIT, MAX_SEND_SIZE} & set(chosen.variables)


def test_the_user_s_own_wins() -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, SMALL)
    assert not {EAGER_LIMIT, MAX_SEND_SIZE} & set(chosen.variables)
    assert f"kept as given: {EAGER_LIMIT}=32768" in chosen.describe()


def test_a_host_whose_file_sets_it_keeps_it_and_makes_room_for_the_others() -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, files=SMALL)
    assert EAGER_LIMIT not in chosen.variables
    assert chosen.kept[EAGER_LIMIT] == "32768"
    assert chosen.variables[MAX_SEND_SIZE] == "1048576"


def test_a_file_that_sets_another_variable_wins_too() -> None:
    chosen = settings.choose(TWO_HOSTS, MACHINE, {}, files={settings.YIELD: "0"})
    assert chosen.kept[settings.YIELD] == "0"
    assert chosen.variables[EAGER_LIMIT] == "1048576"


MPIRUN = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
SRUN = {"PMIX_RANK": "0", "SLURM_STEP_NUM_NODES": "2"}


@pytest.mark.parametrize("launched", [MPIRUN, SRUN], ids=["mpirun", "srun"])
def test_a_script_on_hvd_train_keras_has_it_too(launched: dict[str, str], tmp_path: Path) -> None:
    def found(**given: str) -> dict[str, str]:
        environment = {"HOME": str(tmp_path), **launched, **given}
        keras.prepare_start(environment, prefix=tmp_path / "venv", root=tmp_path)
        return {name: environment[name] for name in (EAGER_LIMIT, MAX_SEND_SIZE) if name in environment}

    spec = importlib.util.spec_from_file_location("environment_of_keras", FILE_OF_KERAS)
    assert spec is not None
    assert spec.loader is not None
    keras = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(keras)
    assert found() == {EAGER_LIMIT: str(EAGER_BYTES)}
    assert found(**SMALL) == SMALL
    assert found(OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_LOCAL_SIZE="2") == {}
    for path in (tmp_path / ".openmpi" / "mca-params.conf", tmp_path / "venv" / "etc" / "openmpi-mca-params.conf"):
        path.parent.mkdir(parents=True)
        path.write_text("# btl_tcp_eager_limit = 1\nmpi_yield_when_idle = 1\n")
        assert found() == {EAGER_LIMIT: str(EAGER_BYTES)}
        path.write_text("mpi_yield_when_idle = 1\n  btl_tcp_eager_limit=32768\n")
        assert found() == {MAX_SEND_SIZE: str(EAGER_BYTES)}
        path.unlink()
    other = tmp_path / "other.conf"
    other.write_text("btl_tcp_eager_limit = 32768\n")
    assert found(OMPI_MCA_mca_base_param_files=f"{tmp_path / 'none'},{other}") == {MAX_SEND_SIZE: str(EAGER_BYTES)}
