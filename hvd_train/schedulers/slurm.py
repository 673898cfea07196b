"""Slurm. Tried with Slurm 22.05."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers.allocation import allocated
from hvd_train.schedulers.base import BatchScheduler, State, foremost, get, whole_number
from hvd_train.schedulers.forms import clock, job_name, quoted, share, with_underscore
from hvd_train.schedulers.job import Job, Resources
from hvd_train.schedulers.shares import cpus_of_slurm

# Others that `squeue` lists mean that the job is about to end.
STATES: Mapping[str, State] = {
    "PENDING": "pending",
    "CONFIGURING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_HOLD": "pending",
    "SPECIAL_EXIT": "pending",
    "RUNNING": "running",
    "SUSPENDED": "running",
    "RESIZING": "running",
}
# Text, and numbers in brackets: node[08-10,12].
NUMBERS = r"\d{1,9}(?:-\d{1,9})?"
HOST = re.compile(rf"(?:[A-Za-z0-9_.-]|\[{NUMBERS}(?:,{NUMBERS})*\])+", re.ASCII)
COUNT = re.compile(r"(\d{1,6})(?:\(x(\d{1,6})\))?", re.ASCII)
MOST_HOSTS = 100_000
# [days-][[hours:]minutes:]seconds
TIME = re.compile(r"(?:(\d{1,9})-)?(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9})", re.ASCII)


class Slurm(BatchScheduler):
    name = "Slurm"
    flag = "slurm"
    programs = ("sbatch", "squeue")
    imitates = ("pbs", "lsf")
    directive = "#SBATCH"
    continuation = "requeue"
    warns = True
    survives_lost_hosts = True
    no_such_job = ("Invalid job id",)
    task_variable = "SLURM_ARRAY_TASK_ID"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        if not get(environment, "SLURM_JOB_ID"):
            return None
        task = get(environment, "SLURM_ARRAY_TASK_ID")
        array = f"{get(environment, 'SLURM_ARRAY_JOB_ID')}_{task}"
        return Job.of(self.name, array if task else get(environment, "SLURM_JOB_ID"))

    def task(self, environment: Mapping[str, str]) -> int | None:
        return whole_number(environment, self.task_variable)

    def restart_count(self, environment: Mapping[str, str]) -> int:
        return whole_number(environment, "SLURM_RESTART_COUNT") or 0

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        listed = get(environment, "SLURM_JOB_NODELIST")
        if not listed:
            raise UserError(
                "SLURM_JOB_NODELIST is not set: this is no Slurm job, or its environment was not passed on."
            )
        names = expand_hosts(listed)
        # Tasks where the job asked for some, otherwise CPUs.
        per_host = get(environment, "SLURM_TASKS_PER_NODE") or get(environment, "SLURM_JOB_CPUS_PER_NODE")
        slots = expand_counts(per_host)
        if len(slots) != len(names):
            raise UserError(f"Slurm lists {len(names)} hosts ({listed}) but {len(slots)} counts of slots ({per_host}).")
        return allocated(zip(names, map(str, slots), strict=True), "SLURM_JOB_NODELIST", self.name)

    def cpus_here(self, environment: Mapping[str, str], host: str) -> int | None:
        names, given = [], []
        with contextlib.suppress(UserError):
            names = expand_hosts(get(environment, "SLURM_JOB_NODELIST"))
            given = expand_counts(get(environment, "SLURM_JOB_CPUS_PER_NODE"))
        return cpus_of_slurm(environment, host, dict(zip(names, given, strict=False)))

    def run_on_host(self, host: str, line: str) -> list[str]:
        """A step beside those that run. It takes no memory of its own, or it would wait for them."""
        options = ["--overlap", "--mem=0", "--mpi=none", "--quiet", "--nodes=1", "--ntasks=1", f"--nodelist={host}"]
        return ["srun", *options, "/bin/sh", "-c", line]

    def options(self, resources: Resources) -> list[str]:
        memory = resources.memory_mb_per_rank
        array = ""
        if resources.num_tasks is not None:
            array = f"0-{resources.num_tasks - 1}" + (f"%{resources.max_parallel}" if resources.max_parallel else "")
        options = {
            "job-name": job_name(resources.name),
            "nodes": resources.num_hosts,
            "ntasks-per-node": resources.ranks_per_host,
            "cpus-per-task": resources.cpus_per_rank,
            "mem-per-cpu": f"{share(memory, resources.cpus_per_rank)}M" if memory else "",
            "time": clock(resources.time_limit_s),
            # B: to the script alone. Without it the signal goes to the job's steps, and never to an mpirun in the script.
            "signal": f"B:USR1@{resources.warning_s}",
            "partition": resources.queue,
            "account": resources.account,
            "output": quoted(resources.log),
            "open-mode": "append",  # a job that is queued again keeps its log
            "array": array,
            "mail-type": "END,FAIL" if resources.mail else "",
            "mail-user": resources.mail,
        }
        return [
            *(f"--{key}={value}" for key, value in options.items() if value != ""),
            *(self.after_option(resources.after) if resources.after else []),
            *(["--exclusive"] if resources.exclusive else []),
            *(["--no-kill"] if resources.keep_on_host_loss else []),
            "--requeue",
        ]

    def log_marks(self, *, array: bool) -> tuple[str, str]:
        return ("%A", "%a") if array else ("%j", "")

    def submit_command(self, script: str) -> list[str]:
        return ["sbatch", "--parsable", script]

    def after_option(self, job_id: str) -> list[str]:
        return [f"--dependency=afterany:{with_underscore(job_id)}"]

    def exclude_option(self, hosts: Sequence[str]) -> list[str]:
        return [f"--exclude={','.join(hosts)}"] if hosts else []

    def submitted_id(self, output: str) -> str:
        """`sbatch --parsable` prints ID or ID;CLUSTER, perhaps below lines of the site."""
        last = output.strip().rpartition("\n")[2].partition(";")[0].strip()
        if not last.isdecimal():
            raise UserError(f"sbatch printed no job id, but: {output.strip() or 'nothing'}.")
        return last

    def status_command(self, job_id: str) -> list[str]:
        return ["squeue", "--noheader", f"--jobs={with_underscore(job_id)}", "--format=%T %r"]

    def state(self, output: str, job_id: str) -> State:
        words = [line.split()[0] for line in output.split("\n") if line.strip()]
        return foremost(STATES.get(word, "ending") for word in words)

    def reason(self, output: str, job_id: str) -> str:
        """%r is a word such as Resources, after the state."""
        for line in output.split("\n"):
            state, _, reason = line.strip().partition(" ")
            if STATES.get(state) == "pending":
                return "" if reason == "None" else reason.strip()
        return ""

    def cancel_command(self, job_id: str) -> list[str]:
        return ["scancel", with_underscore(job_id)]

    def warn_command(self, job_id: str) -> list[str] | None:
        """--batch: to the script alone."""
        return ["scancel", "--batch", "--signal=USR1", with_underscore(job_id)]

    def requeue_command(self, job_id: str) -> list[str]:
        return ["scontrol", "requeue", with_underscore(job_id)]

    def time_left_command(self, job_id: str) -> list[str]:
        return ["squeue", "--noheader", f"--jobs={with_underscore(job_id)}", "--format=%L"]

    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        """%L is [D-]HH:MM:SS, MM:SS, or a word such as UNLIMITED."""
        found = TIME.fullmatch(output.strip().partition("\n")[0])
        if not found:
            return None
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def expand_hosts(listed: str) -> list[str]:
    """The names in Slurm's list of hosts. Raises UserError where it is none.

    >>> expand_hosts("login,node[08-10,12]")
    ['login', 'node08', 'node09', 'node10', 'node12']
    """
    names: list[str] = []
    for host in re.split(r",(?![^\[]*\])", listed):  # at commas outside of brackets
        if not HOST.fullmatch(host):
            raise UserError(f"{listed[:200]!r} is no list of hosts of Slurm, such as node[1-3,7],login.")
        parts = re.split(r"\[([^\]]*)\]", host)  # text and numbers, alternating
        choices = [_numbers(part) if index % 2 else [part] for index, part in enumerate(parts)]
        names += map("".join, itertools.islice(itertools.product(*choices), MOST_HOSTS))
        if len(names) >= MOST_HOSTS:
            raise UserError(f"{listed[:200]!r} is no list of hosts of Slurm: it names {MOST_HOSTS} hosts or more.")
    return names


def _numbers(listed: str) -> list[str]:
    """The numbers of "08-10,12", with their leading zeros."""
    numbers: list[str] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        end = min(int(last or first), int(first) + MOST_HOSTS)
        numbers += [f"{number:0{len(first)}d}" for number in range(int(first), end + 1)]
    return numbers


def expand_counts(listed: str) -> list[int]:
    """The number for each host. Raises UserError where it is no list of numbers.

    >>> expand_counts("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in listed.split(",") if listed else []:
        found = COUNT.fullmatch(part)
        if not found:
            raise UserError(f"{listed[:200]!r} is no list of counts of Slurm, such as 2(x3),1.")
        counts += [int(found[1])] * min(int(found[2] or 1), MOST_HOSTS)
    return counts
