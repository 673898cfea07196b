"""From settings and parsed runs to a job that is ready to be submitted: everything is checked here, nothing is written."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_train.cluster.submit import checks, queue
from hvd_train.cluster.submit.script import OPEN_MPI, SUPERVISED, environment
from hvd_train.cluster.submit.settings import Settings, megabytes_of, seconds_of
from hvd_train.cluster.submit.spec import JOB, JobSpec, Task, Verb
from hvd_train.cluster.submit.volume import pods_of, require_in_the_pods, run_directory
from hvd_train.config import RunConfig
from hvd_train.errors import UserError
from hvd_train.schedulers import BatchScheduler, Kubernetes, Resources, detect_scheduler, scheduler_named
from hvd_train.text import clock

LONGEST_LIMIT_S = 400 * 24 * 3600
LARGEST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ParsedRun:
    """What one job, or one task of an array, runs. The parser of its verb has taken the flags."""

    flags: tuple[str, ...]
    """Those of all tasks, without the run directory."""
    task_flags: tuple[str, ...] = ()
    """Those of this task alone."""
    run_dir: str = ""
    """As it was given; empty for runs/NAME-ID."""
    name: str
    """The name of the job if none is given."""
    config: RunConfig | None = None
    paths: tuple[tuple[str, Path], ...] = ()
    """What the job reads, by what it is."""


@dataclass(frozen=True)
class Ready:
    """A checked job."""

    submission: queue.Submission
    warnings: tuple[str, ...]
    summary: str
    """What it asks for, in words."""

    @property
    def document(self) -> str:
        """What would be submitted, byte for byte."""
        return self.submission.script

    @property
    def command(self) -> str:
        return str(self.submission)

    def submit(self) -> queue.Submitted:
        return queue.submit(self.submission)


def prepare_job(settings: Settings, verb: Verb, runs: Sequence[ParsedRun], *, is_array: bool) -> Ready:
    """The job for these runs, one for each task of an array. UserError where it could not run."""
    scheduler = detect_scheduler(os.environ, shutil.which) if settings.on == "auto" else scheduler_named(settings.on)
    first = runs[0]
    resources = resources_of(settings, name=settings.name or first.name, is_array=is_array)
    _require_fitting(settings, verb, scheduler, resources)
    run_dir, pods = first.run_dir or f"runs/{resources.name}-{JOB}", None
    if isinstance(scheduler, Kubernetes):
        pods = pods_of(settings, verb, is_array=is_array)
        run_dir = run_directory(first.run_dir, scheduler, resources, pods)
    if is_array and JOB not in run_dir:
        raise UserError(
            f"--run-dir {run_dir} would be the directory of every task. Write {JOB} into it, which stands for the id: "
            f"--run-dir '{run_dir}-{JOB}'"
        )
    spec = JobSpec(
        scheduler=scheduler.flag,
        resources=resources,
        working_directory=str(working_directory()),
        programs=str(Path(sys.prefix) / "bin"),
        environment=environment() if pods is None else dict(OPEN_MPI),
        run_dir=run_dir,
        verb=verb,
        flags=first.flags,
        supervise=supervise_flags(settings, resources, has_timer=pods is None) if verb in SUPERVISED else (),
        setup=settings.setup,
        tasks=tuple(Task(flags=run.task_flags) for run in runs) if is_array else (),
        pods=pods,
    )
    for number, run in enumerate(runs, 1):
        try:
            _require_possible(run, verb, spec)
        except UserError as error:
            where = f"task {number} ({' '.join(run.task_flags)}) cannot run: " if is_array else ""
            raise type(error)(f"{where}{error}") from None
    checks.require_free(spec)
    checks.require_plain_log(spec)
    paths = {
        "environment": Path(sys.prefix),
        "run directory": Path(spec.working_directory) / run_dir,
        **{what: path for run in runs for what, path in run.paths},
    }
    return Ready(
        queue.prepare(spec),
        tuple(checks.unseen_paths(paths)) if pods is None else (),
        f"{scheduler.name}, {in_words(resources)}{f', {len(runs)} tasks' if is_array else ''}",
    )


def _require_possible(run: ParsedRun, verb: Verb, spec: JobSpec) -> None:
    """UserError where so many ranks could not train on this data with these flags."""
    if run.config is None:
        return
    if spec.pods is None:
        checks.require_data(run.config)
    else:
        require_in_the_pods(run.config.table.path)
        require_in_the_pods(run.config.table.test_path, "--test-data")
    if verb != "tune":  # it has a --np of its own
        checks.require_ranks(run.config, spec.num_ranks)


def resources_of(settings: Settings, *, name: str, is_array: bool) -> Resources:
    """What to ask the scheduler for, or UserError."""
    time_limit_s = seconds_of(settings.time, flag="--time")
    for flag, value, least, most in (
        ("--nodes", settings.nodes, 1, LARGEST),
        ("--ranks-per-node", settings.ranks_per_node, 1, LARGEST),
        ("--cpus-per-rank", settings.cpus_per_rank, 1, LARGEST),
        ("--max-parallel", settings.max_parallel, 1, LARGEST),
        ("--warn", settings.warn, 1, LONGEST_LIMIT_S),
        ("--max-requeues", settings.max_requeues, 0, LARGEST),
        ("--max-restarts", settings.max_restarts, 0, LARGEST),
    ):
        if value is not None and not least <= value <= most:
            raise UserError(f"{flag} {value}: it is a whole number from {least} to {most}.")
    if not settings.warn < time_limit_s <= LONGEST_LIMIT_S:
        raise UserError(
            f"--time {settings.time} must be longer than the warning before it, --warn {settings.warn} seconds, "
            "and shorter than 400 days."
        )
    if settings.max_parallel is not None and not is_array:
        raise UserError("--max-parallel limits the tasks of an array: give --array sweep.toml too.")
    for flag, text in (
        *(("--queue", settings.queue), ("--account", settings.account), ("--after", settings.after)),
        *(("--mail", settings.mail), ("--pe", settings.pe)),
    ):
        if text and not re.fullmatch(r"[\w.@%+,:/\[\]-]+", text):
            raise UserError(f"{flag} {text!r}: it has letters, digits and . @ % + , : / [ ] - _ alone.")
    for flag, lines in (("--setup", settings.setup), ("--directive", settings.directive)):
        if any(not line.isprintable() or not line.strip() for line in lines):
            raise UserError(f"{flag} takes one line, without control characters. Give it once for each line.")
    return Resources(
        name=plain_name(name),
        num_hosts=settings.nodes,
        ranks_per_host=settings.ranks_per_node,
        cpus_per_rank=settings.cpus_per_rank,
        memory_mb_per_rank=megabytes_of(settings.mem_per_rank, flag="--mem-per-rank"),
        time_limit_s=time_limit_s,
        warning_s=settings.warn,
        queue=settings.queue,
        account=settings.account,
        exclusive=settings.exclusive,
        max_parallel=settings.max_parallel,
        after=settings.after,
        mail=settings.mail,
        keep_on_host_loss=settings.max_restarts > 0,
        parallel_environment=settings.pe,
        extra_directives=settings.directive,
        skip_directives=settings.skip_directive,
    )


def _require_fitting(settings: Settings, verb: Verb, scheduler: BatchScheduler, resources: Resources) -> None:
    """UserError for what this scheduler or this verb cannot do."""
    if settings.launcher == "srun" and scheduler.flag != "slurm":
        raise UserError(f"--launcher srun is Slurm's. Under {scheduler.name} take mpirun.")
    if resources.num_hosts > 1 and verb == "tune":
        raise UserError(f"--nodes {resources.num_hosts}: tune searches on one machine. Give --nodes 1.")


def supervise_flags(settings: Settings, resources: Resources, *, has_timer: bool) -> tuple[str, ...]:
    """What the supervisor in the job is called with. Without a timer, the scheduler's SIGTERM alone tells of the limit."""
    launcher = () if settings.launcher == "mpirun" else ("--launcher", settings.launcher)
    return (
        *("--np", str(resources.num_hosts * resources.ranks_per_host)),
        *(("--time", clock(resources.time_limit_s)) if has_timer else ()),
        *("--warn", str(settings.warn)),
        *("--max-restarts", str(settings.max_restarts)),
        *("--max-requeues", str(settings.max_requeues)),
        *launcher,
    )


def plain_name(name: str) -> str:
    """With letters, digits, dots, - and _ alone, which every scheduler and file system takes.

    >>> plain_name("songs, 2 hosts")
    'songs-2-hosts'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:80] or "job"


def in_words(resources: Resources) -> str:
    """Such as: 2 nodes with 4 ranks each, 2:00:00."""
    hosts, ranks = resources.num_hosts, resources.ranks_per_host
    each = " each" if hosts > 1 else ""
    return (
        f"{hosts} node{'s' * (hosts > 1)} with {ranks} rank{'s' * (ranks > 1)}{each}, {clock(resources.time_limit_s)}"
    )


def working_directory() -> Path:
    """By the name that the user knows: on clusters a real path can be that of one machine alone."""
    known, real = os.environ.get("PWD", ""), Path.cwd()
    try:
        return Path(known) if known.startswith("/") and os.path.samefile(known, real) else real
    except OSError:
        return real
