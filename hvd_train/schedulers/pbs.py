"""OpenPBS and PBS Professional. Tried with OpenPBS 23.06."""

from __future__ import annotations

import os.path
import re
import time
from collections.abc import Mapping

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers.allocation import allocated, lines_of
from hvd_train.schedulers.base import BatchScheduler, LaunchAgent, State, get, whole_number
from hvd_train.schedulers.forms import clock, job_name, quoted, split_id, with_brackets, with_underscore
from hvd_train.schedulers.job import Job, Resources
from hvd_train.schedulers.shares import CPUS_PER_RANK, cpus_of_pbs
from hvd_train.text import seconds_of

# B is an array with tasks that have begun. E is exiting, F finished, X an expired task of an array.
STATES: Mapping[str, State] = {
    **dict.fromkeys(("Q", "H", "W", "T", "M"), "pending"),
    **dict.fromkeys(("R", "S", "U", "B"), "running"),
    "E": "ending",
    **dict.fromkeys(("F", "X"), "gone"),
}

# mpirun gives the command for a host as one word, which pbs_tmrsh would take for the name of a program.
# mpirun may cut a host's name at its first dot, but pbs_tmrsh takes the names of PBS_NODEFILE alone.
TMRSH = """\
#!/bin/sh
# How mpirun starts its daemon on another host of a PBS job: with PBS itself, without ssh. Usage: pbs-agent HOST COMMAND...
if ! command -v pbs_tmrsh >/dev/null; then
    conf=${PBS_CONF_FILE:-/etc/pbs.conf}
    [ -r "$conf" ] && . "$conf"
    PATH=$PATH:${PBS_EXEC:-/opt/pbs}/bin:$PBS_O_PATH
fi
given=$1
shift
host=$(awk -v given="$given" '$1 == given || index($1, given ".") == 1 { print $1; exit }' "$PBS_NODEFILE" 2>/dev/null)
exec pbs_tmrsh "${host:-$given}" /bin/sh -c "$*"
"""


class Pbs(BatchScheduler):
    name = "PBS"
    flag = "pbs"
    programs = ("qsub", "pbsnodes")
    directive = "#PBS"
    continuation = "chain"
    no_such_job = ("Unknown Job Id", "Job has finished")
    task_variable = "PBS_ARRAY_INDEX"

    def is_configured(self, environment: Mapping[str, str]) -> bool:
        return bool(get(environment, "PBS_CONF_FILE") or get(environment, "PBS_EXEC"))

    def job(self, environment: Mapping[str, str]) -> Job | None:
        given = get(environment, "PBS_JOBID")  # 123[4].server
        return Job.of(self.name, given.partition(".")[0]) if given else None

    def task(self, environment: Mapping[str, str]) -> int | None:
        return whole_number(environment, self.task_variable)

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        """PBS_NODEFILE has a line for each rank."""
        lines = lines_of(environment, "PBS_NODEFILE", self.name)
        return allocated([(line, "1") for line in lines], "PBS_NODEFILE", self.name)

    def cpus_here(self, environment: Mapping[str, str], host: str) -> int | None:
        return cpus_of_pbs(environment, host)

    def launch_agent(self, environment: Mapping[str, str]) -> LaunchAgent | None:
        return LaunchAgent("{script}", TMRSH)

    def options(self, resources: Resources) -> list[str]:
        ranks, cpus = resources.ranks_per_host, resources.cpus_per_rank
        memory = resources.memory_mb_per_rank
        chunk = f"{resources.num_hosts}:ncpus={ranks * cpus}:mpiprocs={ranks}:ompthreads={cpus}"
        options = [
            f"-N {job_name(resources.name, longest=15, letter_first=True)}",
            # PBS may place two chunks on one host unless it must scatter them.
            f"-l select={chunk}" + (f":mem={memory * ranks}mb" if memory else ""),
            f"-l place=scatter{':excl' if resources.exclusive else ''}",
            f"-l walltime={clock(resources.time_limit_s)}",
        ]
        if cpus > 1:
            options.append(f"-v {CPUS_PER_RANK}={cpus}")
        if resources.queue:
            options.append(f"-q {resources.queue}")
        if resources.account:
            options.append(f"-A {resources.account}")
        options.append("-j oe")
        if resources.log:
            options.append("-o " + quoted(f"{os.path.dirname(resources.log) or '.'}/"))
        if resources.num_tasks is not None:
            # PBS refuses an array of one task, unless its second task is skipped by the step.
            tasks = f"0-{resources.num_tasks - 1}" if resources.num_tasks > 1 else "0-1:2"
            options.append(f"-J {tasks}" + (f"%{resources.max_parallel}" if resources.max_parallel else ""))
        if resources.after:
            options += [f"-W {self.after_option(resources.after)[1]}"]
        if resources.mail:
            options += ["-m ae", f"-M {resources.mail}"]
        return [*options, "-r y"]

    def opening(self, resources: Resources) -> list[str]:
        """PBS has no mark for a job's id in `-o`, and by default it copies the log only when the job has ended.

        The PATH of a job is not that of its submission, which has the qsub for a follow-up. It comes first, because Grid Engine
        has a qsub, too.
        """
        path = 'export PATH="$PBS_O_PATH:$PATH"'
        if not resources.log:
            return [path]
        log = re.sub(r'([\\"`])', r"\\\1", resources.log)
        folder = "" if os.path.isabs(resources.log) else "$PBS_O_WORKDIR/"
        return [f'exec >>"{folder}{log}" 2>&1', path]

    def log_marks(self, *, array: bool) -> tuple[str, str]:
        """The script writes its log itself, so that the marks are those of bash."""
        return "${PBS_JOBID%%[.[]*}", "$PBS_ARRAY_INDEX" if array else ""

    def submit_command(self, script: str) -> list[str]:
        return ["qsub", script]

    def after_option(self, job_id: str) -> list[str]:
        """PBS lets no job wait for one task of an array, so that it waits for the whole array."""
        number, task = split_id(job_id)
        return ["-W", f"depend=afterany:{number}{'' if task is None else '[]'}"]

    def submitted_id(self, output: str) -> str:
        """`qsub` prints 123.server or 123[].server, perhaps below lines of the site."""
        last = output.strip().rpartition("\n")[2].strip()
        if not re.fullmatch(r"\d+(\[\])?(\.[\w.-]+)?", last, re.ASCII):
            raise UserError(f"qsub printed no job id, but: {output.strip()[:500] or 'nothing'}.")
        return with_underscore(last)

    def status_command(self, job_id: str) -> list[str]:
        return ["qstat", "-f", with_brackets(job_id)]

    def state(self, output: str, job_id: str) -> State:
        return STATES.get(_attributes(output).get("job_state", ""), "gone")

    def reason(self, output: str, job_id: str) -> str:
        found = _attributes(output)
        return found.get("comment", "") if STATES.get(found.get("job_state", "")) == "pending" else ""

    def cancel_command(self, job_id: str) -> list[str]:
        return ["qdel", with_brackets(job_id)]

    def warn_command(self, job_id: str) -> list[str] | None:
        return ["qsig", "-s", "SIGUSR1", with_brackets(job_id)]

    def time_left_command(self, job_id: str) -> list[str]:
        return self.status_command(job_id)

    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        found = _attributes(output)
        limit = seconds_of(found.get("Resource_List.walltime", ""))
        if limit is None:
            return None
        try:
            # qstat writes it in the time zone of this process.
            started = time.mktime(time.strptime(found.get("stime", ""), "%a %b %d %H:%M:%S %Y"))
        except (ValueError, OverflowError):
            used = seconds_of(found.get("resources_used.walltime", "")) or 0.0  # as old as the last report of the host
            return max(limit - used, 0.0)
        return max(started + limit - (time.time() if now is None else now), 0.0)


def _attributes(output: str) -> dict[str, str]:
    """The attributes that `qstat -f` shows, with long lines joined."""
    joined = output.replace("\n\t", "")
    pairs = re.findall(r"^    ([\w.]+) = (.*)$", joined, re.MULTILINE)
    return {name: value.strip() for name, value in reversed(pairs)}  # of an array and its tasks, the first
