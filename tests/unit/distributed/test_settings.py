"""Which cores and variables a rank gets, chosen purely from its placement, machine, environment and config."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hvd_train.config.distributed import AUTOMATIC, DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.allreduce import TRANSPORTS
from hvd_train.distributed.cores import Machine
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.solo import SoloWorld
from hvd_train.errors import ConfigError
from hvd_train.horovod_build import ADDED_VARIABLES, IDLE_CYCLE_TIME, SHARED_MEMORY, added_variables

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def placement(local_rank: int = 0, local_size: int = 2, size: int = 2) -> Placement:
    return Placement(local_rank, size, local_rank, local_size, "h", "mpirun")


def machine(*cpus: int, quota: float | None = None) -> Machine:
    return Machine(cpus, quota=quota, launcher_cpus=cpus)


def test_one_rank_keeps_all_cores_and_starts_nothing_of_mpi() -> None:
    chosen = settings.choose(Placement(0, 1, 0, 1, "h", ""), machine(0, 1, 2), {}, prefix="/env")
    assert chosen.cores is None
    assert chosen.num_threads == 3
    of_tensorflow = {"TF_NUM_INTEROP_THREADS", "TF_CPP_MIN_LOG_LEVEL", settings.MAKE_PRIMITIVES_ANEW}
    assert set(chosen.variables) == {*THREADS, *of_tensorflow}


def test_ranks_share_the_cores_and_get_the_measured_settings() -> None:
    chosen = settings.choose(placement(1), machine(0, 1, 2, 3), {}, prefix="/env")
    assert (chosen.cores, chosen.num_threads, chosen.oversubscribed) == ((2, 3), 2, False)
    assert chosen.variables == dict.fromkeys(THREADS, "2") | {
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        settings.MAKE_PRIMITIVES_ANEW: "0",
        "HOROVOD_CYCLE_TIME": "0.2",
        "HOROVOD_IDLE_CYCLE_TIME": "50",
        "HOROVOD_FUSION_THRESHOLD": "1048576",
        "HOROVOD_SHARED_MEMORY": "1",
        "OPAL_PREFIX": "/env",
        TRANSPORTS: "^ofi",
    }


def test_the_user_s_own_variables_win() -> None:
    own = {"HOROVOD_CYCLE_TIME": "3", "OMP_NUM_THREADS": "7", "TF_NUM_INTRAOP_THREADS": "5", "HOROVOD_AUTOTUNE": "0"}
    chosen = settings.choose(placement(), machine(0, 1), own, config=DistributedConfig(autotune=True, cycle_time_ms=9))
    assert chosen.kept == own
    assert chosen.num_threads == 5
    assert not set(chosen.variables) & set(own)
    environment = dict(own)
    settings.apply(dataclasses.replace(chosen, cores=None), environment)
    assert environment["HOROVOD_CYCLE_TIME"] == "3"
    assert environment[settings.YIELD] == "1"
    assert "kept as given: " in chosen.describe()
    assert "HOROVOD_CYCLE_TIME=3" in chosen.describe()


@pytest.mark.parametrize(
    ("given", "files", "told", "kept"),
    [
        (None, {}, "^ofi", None),
        ("^openib", {}, "^openib,ofi", None),  # by horovodrun
        ("^tcp", {}, None, "^tcp"),
        ("self,vader", {}, None, "self,vader"),
        (None, {TRANSPORTS: "self,tcp"}, None, "self,tcp"),  # by a file of Open MPI, which a variable would override
        ("^openib", {TRANSPORTS: "^tcp"}, None, "^tcp"),
    ],
)
def test_a_transport_that_horovod_never_uses_is_left_out(
    given: str | None, files: dict[str, str], told: str | None, kept: str | None
) -> None:
    environment = {} if given is None else {TRANSPORTS: given}
    chosen = settings.choose(placement(), machine(0, 1), environment, files=files)
    assert (chosen.variables.get(TRANSPORTS), chosen.kept.get(TRANSPORTS)) == (told, kept)


def test_with_everything_off_nothing_is_set() -> None:
    off = DistributedConfig(automatic=())
    for somewhere in (placement(1), dataclasses.replace(placement(), launcher="srun"), Placement(0, 1, 0, 1, "h", "")):
        chosen = settings.choose(somewhere, machine(0, 1, 2, 3), {}, prefix="/env", config=off)
        assert (chosen.cores, chosen.num_threads, chosen.variables, chosen.kept) == (None, None, {}, {})
        assert chosen.switched_off == AUTOMATIC


@pytest.mark.parametrize("name", AUTOMATIC)
def test_each_can_be_switched_off_by_itself(name: str) -> None:
    srun = dataclasses.replace(placement(1), launcher="srun")
    groups = 2  # so that mpi-yield is needed
    config = DistributedConfig(gradient_groups=groups)
    whole = settings.choose(srun, machine(0, 1, 2, 3), {}, prefix="/env", config=config)
    one_off = DistributedConfig(automatic=tuple(n for n in AUTOMATIC if n != name), gradient_groups=groups)
    without = settings.choose(srun, machine(0, 1, 2, 3), {}, prefix="/env", config=one_off)
    gone = set(whole.variables) - set(without.variables)
    assert (
        gone
        == {
            "affinity": set(),
            "threads": {*THREADS, "TF_NUM_INTEROP_THREADS"},
            "shared-memory": {SHARED_MEMORY},
            "two-levels": set(),  # this is one host
            "shared-update": set(),
            "mpi-yield": {settings.YIELD},
            "mpi-eager": set(),
            "cycle-time": {"HOROVOD_CYCLE_TIME"},
            "wake": {"HOROVOD_IDLE_CYCLE_TIME"},
            "fusion": {"HOROVOD_FUSION_THRESHOLD"},
            "primitives": {settings.MAKE_PRIMITIVES_ANEW},
            "launch": {"OPAL_PREFIX", "PMIX_MCA_psec", TRANSPORTS},
            "quiet": {"TF_CPP_MIN_LOG_LEVEL"},
        }[name]
    )
    assert (without.cores is None) == (name == "affinity")
    assert without.switched_off == (name,)


def test_the_config_s_own_settings_become_variables() -> None:
    config = DistributedConfig(
        threads_per_rank=3, cycle_time_ms=1.5, fusion_threshold_mb=0.5, allreduce="ring", autotune=True
    )
    variables = settings.choose(placement(), machine(0, 1), {}, config=config).variables
    assert variables["TF_NUM_INTRAOP_THREADS"] == "3"
    assert variables["HOROVOD_CYCLE_TIME"] == "1.5"
    assert variables["HOROVOD_FUSION_THRESHOLD"] == str(2**19)
    assert variables["HOROVOD_AUTOTUNE"] == "1"
    assert variables["OMPI_MCA_coll_tuned_use_dynamic_rules"] == "1"
    assert variables["OMPI_MCA_coll_tuned_allreduce_algorithm"] == "4"


@pytest.mark.parametrize("own", [{"HOROVOD_CYCLE_TIME": "2"}, {"HOROVOD_AUTOTUNE": "1"}])
def test_horovod_s_cycles_are_the_user_s_where_the_user_says_how_long(own: dict[str, str]) -> None:
    variables = settings.choose(placement(), machine(0, 1), own).variables
    assert "HOROVOD_IDLE_CYCLE_TIME" not in variables
    assert ("HOROVOD_FUSION_THRESHOLD" in variables) == ("HOROVOD_AUTOTUNE" not in own)
    given = settings.choose(placement(), machine(0, 1), {}, config=DistributedConfig(cycle_time_ms=2)).variables
    assert "HOROVOD_IDLE_CYCLE_TIME" not in given


def test_the_autotuner_searches_what_would_be_set() -> None:
    variables = settings.choose(placement(), machine(0, 1), {}, config=DistributedConfig(autotune=True)).variables
    assert {name for name in variables if name.startswith("HOROVOD")} == {
        "HOROVOD_AUTOTUNE",
        SHARED_MEMORY,
    }


def test_an_autotuner_that_the_environment_switches_off_takes_nothing_away() -> None:
    asked = DistributedConfig(autotune=True)
    chosen = settings.choose(placement(), machine(0, 1), {"HOROVOD_AUTOTUNE": "0"}, config=asked)
    assert {"HOROVOD_CYCLE_TIME", "HOROVOD_IDLE_CYCLE_TIME", "HOROVOD_FUSION_THRESHOLD"} <= set(chosen.variables)
    assert chosen.kept == {"HOROVOD_AUTOTUNE": "0"}


LAUNCHER_S = {"OMPI_MCA_orte_bound_at_launch": "1"}
TWO_OF_FOUR = Machine((2, 3), launcher_cpus=(0, 1, 2, 3))


@pytest.mark.parametrize(
    ("here", "environment", "config", "steps_aside"),
    [
        (machine(0, 1), {}, {}, False),
        (machine(0), {}, {}, True),  # a core for both
        (machine(0, 1, 2, 3, quota=1.0), {}, {}, True),
        (machine(0, 1), {}, {"gradient_groups": 2}, True),  # exchanged while the rest is computed
        (machine(0, 1), {}, {"cycle_time_ms": 1}, True),  # Horovod's thread wakes in the middle of a step
        (machine(0, 1), {}, {"autotune": True}, True),
        (machine(0, 1), {}, {"automatic": ("affinity", "mpi-yield")}, True),
        (machine(0, 1), {}, {"automatic": ("wake", "mpi-yield")}, True),
        (machine(0, 1), {"HOROVOD_CYCLE_TIME": "1"}, {}, True),
        (machine(0, 1), {"HOROVOD_IDLE_CYCLE_TIME": "0"}, {}, True),
        (TWO_OF_FOUR, LAUNCHER_S, {}, False),
        (machine(0, 1, 2, 3), LAUNCHER_S, {}, True),  # bound to a socket, as the other is
    ],
)
def test_mpi_steps_aside_where_something_else_needs_the_core(
    here: Machine, environment: dict[str, str], config: dict[str, object], steps_aside: bool
) -> None:
    chosen = settings.choose(placement(), here, environment, config=DistributedConfig(**config))  # type: ignore[arg-type]
    assert (settings.YIELD in chosen.variables) == steps_aside


def test_a_horovod_that_does_not_sleep_is_not_told_to_and_steps_aside() -> None:
    variables = settings.choose(placement(), machine(0, 1), {}, added=(SHARED_MEMORY,)).variables
    assert "HOROVOD_IDLE_CYCLE_TIME" not in variables
    assert variables[settings.YIELD] == "1"


def test_what_horovod_can_do_stands_in_its_library(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    library = tmp_path / "tensorflow" / "mpi_lib.cpython-311-x86_64-linux-gnu.so"
    for content, expected in (
        (b"", set()),
        (b"\0HOROVOD_CYCLE_TIME\0", set()),
        (b"\0HOROVOD_IDLE_CYCLE_TIME\0", {IDLE_CYCLE_TIME}),
        (b"\0HOROVOD_IDLE_CYCLE_TIME\0HOROVOD_SHARED_MEMORY\0", {IDLE_CYCLE_TIME, SHARED_MEMORY}),
        (b"\0".join(name.encode() for name in sorted(ADDED_VARIABLES)), ADDED_VARIABLES),
    ):
        library.write_bytes(content)
        assert added_variables(tmp_path) == expected
    assert added_variables(tmp_path / "none") == set()


def test_gradients_go_through_shared_memory_on_one_host_unless_another_way_is_chosen() -> None:
    def shares(placement_: Placement, environment: dict[str, str], **config: object) -> bool:
        chosen = settings.choose(placement_, machine(0, 1), environment, config=DistributedConfig(**config))  # type: ignore[arg-type]
        return SHARED_MEMORY in chosen.variables

    assert shares(placement(), {})
    assert not shares(Placement(0, 4, 0, 2, "h", "mpirun"), {})  # two hosts
    assert not shares(placement(), {}, allreduce="ring")
    assert not shares(placement(), {"OMPI_MCA_coll_tuned_allreduce_algorithm": "4"})
    assert not shares(placement(), {"HOROVOD_CPU_OPERATIONS": "gloo"})
    chosen = settings.choose(placement(), machine(0, 1), {SHARED_MEMORY: "0"})
    assert chosen.kept[SHARED_MEMORY] == "0"
    assert SHARED_MEMORY not in settings.choose(placement(), machine(0, 1), {}, added=(IDLE_CYCLE_TIME,)).variables


def test_between_hosts_gradients_go_together() -> None:
    two_hosts = Placement(0, 4, 0, 2, "h", "mpirun")
    assert "HOROVOD_FUSION_THRESHOLD" not in settings.choose(two_hosts, machine(0, 1), {}).variables


def test_under_srun_no_warning_about_munge() -> None:
    srun = dataclasses.replace(placement(), launcher="srun")
    assert settings.choose(srun, machine(0, 1), {}).variables["PMIX_MCA_psec"] == "native"
    assert "PMIX_MCA_psec" not in settings.choose(placement(), machine(0, 1), {}).variables


@pytest.mark.parametrize(
    ("launcher", "environment"),
    [
        ("mpirun", {"OMPI_MCA_orte_bound_at_launch": "1"}),
        ("srun", {"SLURM_STEP_NUM_TASKS": "2", "SLURM_CPU_BIND_TYPE": "mask_cpu:"}),
        ("mpiexec", {"I_MPI_PIN_INFO": "x0"}),
    ],
)
def test_a_launcher_s_binding_is_kept(launcher: str, environment: dict[str, str]) -> None:
    for cores in ((1,), (2, 3)):
        everywhere = Machine(cores, launcher_cpus=(0, 1, 2, 3))
        bound = settings.choose(dataclasses.replace(placement(1), launcher=launcher), everywhere, environment)
        assert (bound.cores, bound.num_threads, bound.oversubscribed) == (None, len(cores), False)
        assert settings.AFFINITY in bound.kept


def test_ranks_that_the_launcher_bound_to_one_socket_share_its_cores() -> None:
    socket = Machine(tuple(range(8)), launcher_cpus=tuple(range(16)))
    bound = settings.choose(placement(1, local_size=8, size=8), socket, {"OMPI_MCA_orte_bound_at_launch": "1"})
    assert (bound.cores, bound.num_threads) == (None, 2)


def test_a_job_script_s_binding_is_not_mpirun_s() -> None:
    script = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_CPU_BIND_TYPE": "mask_cpu:", "OMPI_COMM_WORLD_SIZE": "2"}
    assert settings.choose(placement(1), machine(0, 1), script).cores == (1,)


def test_more_ranks_than_cores_is_said() -> None:
    chosen = settings.choose(placement(3, local_size=4, size=4), machine(0, 1), {})
    assert (chosen.cores, chosen.num_threads, chosen.oversubscribed) == ((1,), 1, True)
    chosen = settings.choose(placement(3, local_size=4, size=4), machine(0, 1, 2, 3, quota=2.0), {})
    assert (chosen.cores, chosen.num_threads, chosen.oversubscribed) == ((3,), 1, True)


def test_cores_are_written_as_linux_does() -> None:
    assert settings.ranges((0, 1, 2, 5, 8, 9)) == "0-2,5,8-9"
    assert settings.ranges(()) == ""


def test_on_one_rank_there_is_nothing_to_send_less_often() -> None:
    alone = Placement(0, 1, 0, 1, "h", "")
    world = SoloWorld(alone, settings.choose(alone, machine(0), {}))
    assert world.distribute("optimizer", DistributedConfig()) == "optimizer"
    with pytest.raises(ConfigError, match="is for several ranks"):
        world.distribute("optimizer", DistributedConfig(backward_passes_per_step=2))
