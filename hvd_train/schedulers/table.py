"""The table of schedulers, the job that a process runs in, and the scheduler that is installed here."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Mapping

from hvd_train.errors import UserError
from hvd_train.schedulers.base import BatchScheduler, Scheduler
from hvd_train.schedulers.job import Job
from hvd_train.schedulers.kubernetes import Kubernetes
from hvd_train.schedulers.lsf import Lsf
from hvd_train.schedulers.pbs import Pbs
from hvd_train.schedulers.sge import GridEngine
from hvd_train.schedulers.shares import is_same_host
from hvd_train.schedulers.slurm import Slurm

SCHEDULERS: tuple[Scheduler, ...] = (Slurm(), Pbs(), Lsf(), GridEngine(), Kubernetes())


def detect_job(environment: Mapping[str, str]) -> Job | None:
    """The batch job that a process with this environment runs in, or None."""
    return next((job for scheduler in SCHEDULERS if (job := scheduler.job(environment)) is not None), None)


def scheduler_of_job(environment: Mapping[str, str]) -> BatchScheduler | None:
    """The scheduler of the job that a process with this environment runs in. None outside of one that can be driven."""
    return next((scheduler for scheduler in batch_schedulers() if scheduler.job(environment) is not None), None)


def batch_schedulers() -> list[BatchScheduler]:
    """Those of the table that can be driven."""
    return [scheduler for scheduler in SCHEDULERS if isinstance(scheduler, BatchScheduler)]


def scheduler_named(flag: str) -> BatchScheduler:
    """The scheduler that `--on` calls so. Raises UserError."""
    known = {scheduler.flag: scheduler for scheduler in batch_schedulers()}
    if flag not in known:
        raise UserError(f"There is no scheduler {flag!r}. Those that can be driven are {', '.join(known)}.")
    return known[flag]


def detect_scheduler(environment: Mapping[str, str], which: Callable[[str], str | None]) -> BatchScheduler:
    """The scheduler whose commands are installed here. Raises UserError where there is none, or more than one.

    `which` finds a command on PATH, as `shutil.which` does. All commands of a scheduler are in one folder. PBS and
    Grid Engine both have a qsub, and the folder of its other commands tells whose it is. Slurm brings a qsub and a bsub
    of its own, for users of PBS and LSF.
    """
    known = [scheduler for scheduler in batch_schedulers() if scheduler.is_detected]
    folders = {scheduler: folder for scheduler in known if (folder := _folder(scheduler, which)) is not None}
    imitations = {(flag, folder) for scheduler, folder in folders.items() for flag in scheduler.imitates}
    found = [scheduler for scheduler, folder in folders.items() if (scheduler.flag, folder) not in imitations]
    if len(found) > 1:
        names = " and ".join(f"{scheduler.name} ({which(scheduler.programs[0])})" for scheduler in found)
        flags = " or ".join(f"--on {scheduler.flag}" for scheduler in found)
        raise UserError(f"This machine has the commands of {names}. Choose one with {flags}.")
    if not found:
        found = [
            scheduler for scheduler in known if scheduler.is_configured(environment) and which(scheduler.programs[0])
        ]
    if len(found) != 1:
        wanted = "; ".join(f"{scheduler.name}: {', '.join(scheduler.programs)}" for scheduler in known)
        raise UserError(
            f"No batch scheduler was found on PATH. Looked for these commands: {wanted}. Submit from a login host of the "
            f"cluster, or load its module first. --on {known[0].flag} --dry-run prints the script on any machine."
        )
    return found[0]


def _folder(scheduler: BatchScheduler, which: Callable[[str], str | None]) -> str | None:
    """The folder with all commands of the scheduler. None where they are not there, or in several folders."""
    paths = [which(program) for program in scheduler.programs]
    folders = {os.path.dirname(path) for path in paths if path is not None}
    return folders.pop() if None not in paths and len(folders) == 1 else None


def cpus_of_job(environment: Mapping[str, str], host: str) -> int | None:
    """The CPUs that the batch job was given on this host. None outside of a job, and where its scheduler does not say."""
    scheduler = next((one for one in SCHEDULERS if one.job(environment) is not None), None)
    return scheduler.cpus_here(environment, host) if scheduler is not None else None


def unused_hosts(environment: Mapping[str, str], used: Iterable[str]) -> tuple[str, ...]:
    """The hosts of the batch job that are not among `used`. None outside of a job, and where its hosts are not known."""
    scheduler, used = scheduler_of_job(environment), tuple(used)
    try:
        hosts = scheduler.hosts(environment) if scheduler is not None else ()
    except UserError:
        return ()
    return tuple(host.name for host in hosts if not any(is_same_host(host.name, name) for name in used))
