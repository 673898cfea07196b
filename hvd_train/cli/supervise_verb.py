"""What `hvd-train supervise` does: read its own flags and those of the verb after `--`, and supervise that."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hvd_train.cli.bench_verbs import refuse_under_a_launcher
from hvd_train.cli.cluster.submit_verb import split
from hvd_train.cli.cluster.submitted_flags import parsed_run
from hvd_train.cli.terminal import parse
from hvd_train.cluster import follow_up
from hvd_train.cluster import supervise as supervising
from hvd_train.config import RunConfig, toml
from hvd_train.distributed import Placement
from hvd_train.errors import HvdTrainError, UserError
from hvd_train.processes import time_limit
from hvd_train.runs import RunDir, named_after_job, new_run_dir
from hvd_train.schedulers import Job
from hvd_train.text import printable

PROG = "hvd-train supervise"
MOST_VIRTUAL_SHARDS = 64
SUPERVISED: tuple[supervising.Verb, ...] = get_args(supervising.Verb)


@dataclass(frozen=True, kw_only=True)
class SuperviseArguments:
    """Start a training on the hosts that are there, and start it again from its last checkpoint where that can help.

    What it starts comes after --: train, ensemble or evaluate. In a batch job its hosts are taken, and a job that reaches its time limit
    is saved and continued by another.

    Examples:

        hvd-train supervise -- train --data songs.csv

        hvd-train supervise --hosts lab1:4,lab2:4 --max-restarts 5 -- train --data songs.csv --run-dir runs/songs
    """

    hosts: str | None = None
    """Hosts and their slots, such as lab1:4,lab2:4. By default those of the batch job, or else this machine."""
    hostfile: Path | None = None
    """The same in a file."""
    np: int | None = None
    """Number of ranks. By default the largest number that the slots allow and that divides the virtual shards."""
    min_ranks: int = 1
    """Fewest ranks to train on where hosts are lost."""
    max_restarts: int = 3
    """Restarts in a row without a new checkpoint. 0: none at all."""
    restart_delay: float = 5.0
    """Seconds before a restart where the last start made no new checkpoint. Each further one waits twice as long."""
    max_requeues: int = 20
    """How often another batch job may go on with the run."""
    max_total_time: str | None = None
    """Time that the ranks may run in all jobs of the run together, as H:MM:SS. By default without a limit."""
    warn: float = 120.0
    """So many seconds before the time limit the ranks save a checkpoint and end."""
    time: str | None = None
    """Time limit of this command as H:MM:SS, where no scheduler tells it."""
    launcher: Literal["mpirun", "srun", "horovodrun"] = "mpirun"
    """What starts the ranks."""


def supervise(argv: Sequence[str], placement: Placement) -> int:
    """Supervise what comes after `--`. Returns its exit code, and 0 only when the run is complete."""
    own, behind = split(argv)
    arguments = parse(SuperviseArguments, own, placement, prog=PROG)
    refuse_under_a_launcher(placement, "supervise")
    require_possible(arguments)
    verb = next((verb for verb in SUPERVISED if behind[:1] == [verb]), None)
    if verb is None:
        raise UserError(
            f"{PROG} takes what it starts after --, one of {', '.join(SUPERVISED)}: {PROG} -- train --data songs.csv"
        )
    allocation = supervising.find_allocation(os.environ, hosts=arguments.hosts, hostfile=arguments.hostfile)
    supervising.refuse_too_few(allocation, arguments.np, arguments.min_ranks)
    with contextlib.ExitStack() as stack:
        task = task_of(verb, behind[1:], allocation.job, placement, stack)
        return supervised(arguments, task, allocation)


def supervised(arguments: SuperviseArguments, task: supervising.Task, allocation: supervising.Allocation) -> int:
    def follow(job_id: str, excluded: Sequence[str]) -> str:
        return follow_up(task.run_dir.path, job_id, exclude=excluded)

    with supervising.here() as world:
        return supervising.Supervisor(
            task,
            allocation,
            options_of(arguments, allocation, repeatable=task.repeatable),
            world,
            environment=supervising.environment(),
            tell=lambda text: tell(text, task.run_dir),
            follow_up=follow,
        ).run()


def require_possible(arguments: SuperviseArguments) -> None:
    """UserError for numbers that make no sense."""
    least = {"np": 1, "min_ranks": 1, "max_restarts": 0, "restart_delay": 0, "max_requeues": 0, "warn": 0}
    for name, smallest in least.items():
        value = getattr(arguments, name)
        if value is not None and not smallest <= value < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {value}: it is a number from {smallest} on.")


def options_of(
    arguments: SuperviseArguments, allocation: supervising.Allocation, *, repeatable: bool
) -> supervising.Options:
    total = arguments.max_total_time
    limit = arguments.time
    patience = supervising.Patience()
    if allocation.scheduler is not None and allocation.scheduler.cancels_gently:
        patience = patience.with_notice(arguments.warn)
    return supervising.Options(
        np=arguments.np,
        min_ranks=arguments.min_ranks,
        launcher=arguments.launcher,
        warn_s=arguments.warn,
        patience=patience,
        time_limit_s=time_limit(limit, "--time") if limit else None,
        rules=supervising.Rules(
            max_restarts=arguments.max_restarts if repeatable else 0,
            restart_delay_s=arguments.restart_delay,
            max_requeues=arguments.max_requeues,
            max_total_time_s=time_limit(total, "--max-total-time") if total else None,
        ),
    )


def task_of(
    verb: supervising.Verb, flags: Sequence[str], job: Job | None, placement: Placement, stack: contextlib.ExitStack
) -> supervising.Task:
    """The run of these flags. All of them are parsed now: a mistake ends it before anything starts or is written."""
    run = parsed_run(verb, flags, (), placement)
    if run.run_dir:
        run_dir = RunDir(named_after_job(Path(run.run_dir), job))
    elif verb == "evaluate":
        run_dir = RunDir(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hvd_train-supervise-"))))
    else:
        run_dir = new_run_dir(run.name, job=job)
    config = run.config or RunConfig()
    return supervising.Task(
        verb=verb,
        run_dir=run_dir,
        flags=run.flags,
        num_virtual_shards=lambda slots: virtual_shards(config, run_dir, slots),
        keeps_size=config.training.local_batch_size is not None,
    )


def virtual_shards(config: RunConfig, run_dir: RunDir, slots: int) -> int:
    """Virtual shards of the run: as its config.toml has them once it has begun, before that as the flags decide."""
    from hvd_train.training import shards_for_batch

    if run_dir.config.exists():
        with contextlib.suppress(HvdTrainError):  # the training says it better
            config = toml.load(run_dir.config, base=config)
    return config.split.num_virtual_shards or shards_for_batch(config.training, slots) or MOST_VIRTUAL_SHARDS


def tell(text: str, run_dir: RunDir) -> None:
    """Print a line of the supervisor, and write it into the log of the run once there is one."""
    for line in printable(text).splitlines():
        print(f"supervise: {line}", flush=True)
        if run_dir.config.is_file():
            with run_dir.log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  supervise: {line}\n")
