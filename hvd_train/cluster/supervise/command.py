"""The command that starts the ranks, for each launcher. Pure."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hvd_train.cluster.supervise.allocation import THIS_MACHINE
from hvd_train.cluster.supervise.leftovers import MARK
from hvd_train.errors import MissingEnvironment
from hvd_train.processes import jobs

Launcher = Literal["mpirun", "srun", "horovodrun"]

# What ranks on other hosts need of our environment, which mpirun does not pass on by itself.
PASSED_ON = (
    MARK,
    "PATH",
    "OPAL_PREFIX",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "TMPDIR",
    # The batch job, and what tells its CPUs on a host: pbs_tmrsh and ssh pass nothing on.
    *("PBS_JOBID", "PBS_ARRAY_INDEX", "NCPUS", "PBS_NODEFILE"),
    *("JOB_ID", "SGE_TASK_ID", "NSLOTS", "NHOSTS"),
    *("LSB_JOBID", "LSB_JOBINDEX", "LSB_MCPU_HOSTS", "LSB_AFFINITY_HOSTFILE"),
)
PASSED_ON_BEGINNINGS = ("HOROVOD_", "HVD_TRAIN_", "TF_", "NCCL_", "KERAS_", "XLA_")


def environment() -> dict[str, str]:
    """What the launcher is started with."""
    return jobs.environment()


def program() -> str:
    """hvd-train of this environment, which all hosts have at the same path."""
    beside = Path(sys.prefix) / "bin" / "hvd-train"
    found = str(beside) if beside.exists() else shutil.which("hvd-train")
    if found is None:
        raise MissingEnvironment("hvd-train was not found: run `make setup`, and start this in its environment.")
    return found


def launch(
    launcher: Launcher,
    placed: Mapping[str, int],
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    hostfile: Path | None,
    agent: str = "",
) -> list[str]:
    """Start `command` on the ranks that `placed` gives to each host. `hostfile` says the same to mpirun."""
    if launcher == "srun":
        return _srun(placed, command)
    if launcher == "horovodrun":
        return _horovodrun(placed, command)
    return _mpirun(placed, command, environment, hostfile, agent)


def exported(environment: Mapping[str, str]) -> list[str]:
    """The variables that ranks on other hosts get."""
    names = {name for name in environment if name in PASSED_ON or name.startswith(PASSED_ON_BEGINNINGS)}
    return sorted(names)


def _mpirun(
    placed: Mapping[str, int], command: Sequence[str], environment: Mapping[str, str], hostfile: Path | None, agent: str
) -> list[str]:
    options: list[str] = []
    if hostfile is not None:
        options += ["--hostfile", str(hostfile)]
        options += [part for name in exported(environment) for part in ("-x", name)]
    if agent:
        options += ["--mca", "plm_rsh_agent", agent]
    return jobs.mpirun(sum(placed.values()), [*options, *command])


def _srun(placed: Mapping[str, int], command: Sequence[str]) -> list[str]:
    ranks, hosts = sum(placed.values()), list(placed)
    where = [] if hosts == [THIS_MACHINE] else [f"--nodes={len(hosts)}", f"--nodelist={','.join(hosts)}"]
    return ["srun", "--mpi=pmix", f"--ntasks={ranks}", *where, "--kill-on-bad-exit=1", "--unbuffered", *command]


def _horovodrun(placed: Mapping[str, int], command: Sequence[str]) -> list[str]:
    beside = Path(sys.prefix) / "bin" / "horovodrun"
    name = str(beside) if beside.exists() else "horovodrun"
    hosts = ",".join(f"{host}:{ranks}" for host, ranks in placed.items())
    return [name, "-np", str(sum(placed.values())), "-H", hosts, *command]
