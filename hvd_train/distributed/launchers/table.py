"""The table of launchers, and which of them started this process."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher
from hvd_train.distributed.launchers.horovodrun import HorovodrunGloo
from hvd_train.distributed.launchers.jsrun import Jsrun
from hvd_train.distributed.launchers.mpiexec import HydraMpiexec
from hvd_train.distributed.launchers.mpirun import Mpirun
from hvd_train.distributed.launchers.srun import Srun
from hvd_train.distributed.launchers.tf_config import HvdTrainLaunch, TfConfig, cluster_key
from hvd_train.distributed.placement import Placement


class NoLauncher(Launcher):
    """The user started this process directly."""

    name = ""
    rank_variable = ""
    engines = ("solo",)

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        return Placement(0, 1, 0, 1, host=host, launcher=self.name)


# In the order in which they are believed. Inside a Slurm step mpirun and mpiexec start ranks of their own, whose
# environment still has the step's variables: so srun comes last. The ranks of jsrun have the variables of mpirun, too.
# TF_CONFIG may be left in a shell in which mpirun is started. In a step of srun somebody set it for this program.
LAUNCHERS: tuple[Launcher, ...] = (
    HvdTrainLaunch(),
    HorovodrunGloo(),
    Jsrun(),
    Mpirun(),
    HydraMpiexec(),
    TfConfig(),
    Srun(),
    NoLauncher(),
)

JOB_VARIABLES = tuple(dict.fromkeys(name for launcher in LAUNCHERS for name in launcher.job_variables))
"""What tells one job from another, of all launchers: a job may run inside one of another launcher."""


def detect_placement(environment: Mapping[str, str], *, host: str | None = None) -> Placement:
    """The placement that the launcher gave this process; rank 0 of 1 where nothing launched it. Pure, but for the host's name."""
    host = host or socket.gethostname()
    found = (launcher.detect(environment, host) for launcher in LAUNCHERS)
    return next(placement for placement in found if placement is not None)


def job_of(environment: Mapping[str, str]) -> frozenset[str]:
    """What tells the job of a process with this environment from others. Pure."""
    known = {f"{name}={environment[name]}" for name in JOB_VARIABLES if environment.get(name)}
    return frozenset(known | {key for key in [cluster_key(environment)] if key})


def launcher_of(placement: Placement) -> Launcher:
    """The launcher that gave this placement."""
    return next(launcher for launcher in LAUNCHERS if launcher.name == placement.launcher)
