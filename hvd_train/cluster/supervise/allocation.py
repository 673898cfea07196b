"""The hosts of a run and how many ranks they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_train.distributed import read_machine
from hvd_train.errors import UserError
from hvd_train.hostfiles import Host, parse_host_list, read_hostfile
from hvd_train.schedulers import SCHEDULERS, BatchScheduler, Job, LaunchAgent, detect_job

THIS_MACHINE = "localhost"


@dataclass(frozen=True)
class Allocation:
    """Where ranks may be started."""

    hosts: tuple[Host, ...]
    source: str
    """Where the hosts were read, for messages."""
    scheduler: BatchScheduler | None = None
    """Of the batch job that this is; None outside of one."""
    job: Job | None = None
    agent: LaunchAgent | None = None

    @property
    def slots(self) -> int:
        return sum(host.slots for host in self.hosts)

    @property
    def is_this_machine(self) -> bool:
        return [host.name for host in self.hosts] == [THIS_MACHINE]


def find_allocation(environment: Mapping[str, str], *, hosts: str | None, hostfile: Path | None) -> Allocation:
    """--hosts or --hostfile, else the hosts of the batch job, else this machine. UserError."""
    job = detect_job(environment)
    scheduler = scheduler_of(job) if job else None
    agent = scheduler.launch_agent(environment) if scheduler else None
    if hosts is not None and hostfile is not None:
        raise UserError("--hosts and --hostfile both name the hosts: give one of them.")
    if hosts is not None:
        return Allocation(parse_host_list(hosts, "--hosts"), f"--hosts {hosts}", scheduler, job, agent)
    if hostfile is not None:
        return Allocation(read_hostfile(hostfile), f"--hostfile {hostfile}", scheduler, job, agent)
    if scheduler is not None:
        return Allocation(scheduler.hosts(environment), str(job), scheduler, job, agent)
    own = len(read_machine().units())
    return Allocation((Host(THIS_MACHINE, max(1, own)),), "this machine", None, job)


def scheduler_of(job: Job) -> BatchScheduler | None:
    """The scheduler of a job, where it can be driven."""
    found = next((scheduler for scheduler in SCHEDULERS if scheduler.name == job.scheduler), None)
    return found if isinstance(found, BatchScheduler) else None


def rank_count(slots: int, num_virtual_shards: int, np: int | None = None) -> int:
    """The largest number of ranks, at most `slots` and `np`, that shares the virtual shards equally; 0 without a slot.

    >>> rank_count(6, 64), rank_count(6, 48), rank_count(6, 48, np=5)
    (4, 6, 4)
    """
    most = min(slots, num_virtual_shards, np if np is not None else slots)
    return next((ranks for ranks in range(most, 0, -1) if num_virtual_shards % ranks == 0), 0)


def place(hosts: Sequence[Host], ranks: int) -> dict[str, int]:
    """Ranks on each host, the first hosts first, as `mpirun --map-by slot` places them. Hosts without a rank are left out.

    >>> place([Host("a", 2), Host("b", 2), Host("c", 2)], 3)
    {'a': 2, 'b': 1}
    """
    placed: dict[str, int] = {}
    for host in hosts:
        here = min(host.slots, ranks - sum(placed.values()))
        if here > 0:
            placed[str(host)] = here
    return placed


def refuse_too_few(allocation: Allocation, np: int | None, min_ranks: int) -> None:
    """UserError where the hosts have fewer slots than --np or --min-ranks asks for."""
    for flag, wanted in (("--np", np), ("--min-ranks", min_ranks)):
        if wanted is not None and wanted > allocation.slots:
            more = (
                f"To start more ranks than cores: --hosts {THIS_MACHINE}:{wanted}"
                if allocation.is_this_machine
                else "Ask for fewer ranks, or give hosts with more slots"
            )
            raise UserError(
                f"{flag} {wanted}: there are {allocation.slots} slots ({allocation.source}: "
                f"{', '.join(f'{host}:{host.slots}' for host in allocation.hosts)}). {more}."
            )
    if np is not None and np < min_ranks:
        raise UserError(f"--np {np} is less than --min-ranks {min_ranks}.")
