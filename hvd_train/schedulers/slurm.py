"""Slurm. Tried with Slurm 22.05."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers.base import BatchScheduler, State, get
from hvd_train.schedulers.job import Job, Resources

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
# A comma separates hosts where it is outside of brackets.
HOSTS = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")
# [days-][[hours:]minutes:]seconds
TIME = re.compile(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)")


class Slurm(BatchScheduler):
    name = "Slurm"
    flag = "slurm"
    programs = ("sbatch",)
    continuation = "requeue"
    warns = True
    survives_lost_hosts = True
    task_variable = "SLURM_ARRAY_TASK_ID"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        if not get(environment, "SLURM_JOB_ID"):
            return None
        task = get(environment, "SLURM_ARRAY_TASK_ID")
        array = f"{get(environment, 'SLURM_ARRAY_JOB_ID')}_{task}"
        return Job.of(self.name, array if task else get(environment, "SLURM_JOB_ID"))

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        listed = get(environment, "SLURM_JOB_NODELIST")
        if not listed:
            raise UserError(
                "SLURM_JOB_NODELIST is not set: this is no Slurm job, or its environment was not passed on."
            )
        names = list(expand_hosts(listed))
        # Tasks where the job asked for some, otherwise CPUs.
        per_host = get(environment, "SLURM_TASKS_PER_NODE") or get(environment, "SLURM_JOB_CPUS_PER_NODE")
        slots = list(expand_counts(per_host))
        if len(slots) != len(names):
            raise UserError(f"Slurm lists {len(names)} hosts ({listed}) but {len(slots)} counts of slots ({per_host}).")
        return tuple(Host(name, count) for name, count in zip(names, slots, strict=True))

    def restart_count(self, environment: Mapping[str, str]) -> int:
        counted = get(environment, "SLURM_RESTART_COUNT")
        return int(counted) if counted.isdecimal() else 0

    def run_on_host(self, host: str, line: str) -> list[str]:
        """A step beside those that run. It takes no memory of its own, or it would wait for them."""
        options = ["--overlap", "--mem=0", "--mpi=none", "--quiet", "--nodes=1", "--ntasks=1", f"--nodelist={host}"]
        return ["srun", *options, "/bin/sh", "-c", line]

    def directives(self, resources: Resources) -> list[str]:
        memory = resources.memory_mb_per_rank
        options = {
            "job-name": resources.name,
            "nodes": resources.num_hosts,
            "ntasks-per-node": resources.ranks_per_host,
            "cpus-per-task": resources.cpus_per_rank,
            "mem-per-cpu": f"{memory // resources.cpus_per_rank}M" if memory else "",
            "time": clock(resources.time_limit_s),
            # B: to the script alone. Without it the signal goes to the job's steps, and never to an mpirun in the script.
            "signal": f"B:USR1@{resources.warning_s}",
            "partition": resources.queue,
            "account": resources.account,
            "output": resources.log,
            "open-mode": "append",  # a job that is queued again keeps its log
        }
        return [f"#SBATCH --{key}={value}" for key, value in options.items() if value != ""] + ["#SBATCH --requeue"]

    def log_marks(self, *, array: bool) -> tuple[str, str]:
        return ("%A", "%a") if array else ("%j", "")

    def submit_command(self, script: str) -> list[str]:
        return ["sbatch", "--parsable", script]

    def submitted_id(self, output: str) -> str:
        """`sbatch --parsable` prints ID or ID;CLUSTER, perhaps below lines of the site."""
        last = output.strip().rpartition("\n")[2].partition(";")[0].strip()
        if not last.isdecimal():
            raise UserError(f"sbatch printed no job id, but: {output.strip() or 'nothing'}.")
        return last

    def status_command(self, job_id: str) -> list[str]:
        return ["squeue", "--noheader", f"--jobs={job_id}", "--format=%T"]

    def state(self, output: str) -> State:
        word = output.strip().partition("\n")[0]
        return STATES.get(word, "ending") if word else "gone"

    def cancel_command(self, job_id: str) -> list[str]:
        return ["scancel", job_id]

    def requeue_command(self, job_id: str) -> list[str]:
        return ["scontrol", "requeue", job_id]

    def time_left_command(self, job_id: str) -> list[str]:
        return ["squeue", "--noheader", f"--jobs={job_id}", "--format=%L"]

    def time_left_s(self, output: str) -> float | None:
        """%L is [D-]HH:MM:SS, MM:SS, or a word such as UNLIMITED."""
        found = TIME.fullmatch(output.strip().partition("\n")[0])
        if not found:
            return None
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def clock(seconds: int) -> str:
    """HH:MM:SS; a part of a second counts as one.

    >>> clock(90000)
    '25:00:00'
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def expand_hosts(listed: str) -> Iterator[str]:
    """The names in Slurm's list of hosts.

    >>> list(expand_hosts("login,node[08-10,12]"))
    ['login', 'node08', 'node09', 'node10', 'node12']
    """
    for host in HOSTS.findall(listed):
        parts = re.split(r"\[([^\]]*)\]", host)  # text and ranges, alternating
        choices = [list(_range(part)) if index % 2 else [part] for index, part in enumerate(parts)]
        yield from map("".join, itertools.product(*choices))


def _range(listed: str) -> Iterator[str]:
    """The numbers of "08-10,12", with their leading zeros."""
    for part in listed.split(","):
        first, _, last = part.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield f"{number:0{len(first)}d}"


def expand_counts(listed: str) -> Iterator[int]:
    """The number for each host.

    >>> list(expand_counts("2(x3),1"))
    [2, 2, 2, 1]
    """
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", listed):
        yield from [int(count)] * int(times or 1)
