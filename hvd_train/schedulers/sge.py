"""Grid Engine, by whatever name: Son of Grid Engine, Sun's, Univa's, Altair's. Tried with 8.1.9."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Mapping, Sequence

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers.allocation import allocated, lines_of
from hvd_train.schedulers.base import BatchScheduler, LaunchAgent, State, foremost, get, whole_number
from hvd_train.schedulers.forms import clock, job_name, quoted, share, split_id
from hvd_train.schedulers.job import Job, Resources
from hvd_train.schedulers.shares import CPUS_PER_RANK, cpus_of_grid_engine

LIMIT = re.compile(r"<CE_name>h_rt</CE_name>\s*<CE_valtype>\d+</CE_valtype>\s*<CE_stringval>(\d{1,9})</CE_stringval>")
TASK_NUMBER = re.compile(r"<JAT_task_number>(\d+)</JAT_task_number>")
STARTED = re.compile(r"<JAT_start_time>(\d{1,11})</JAT_start_time>")


class GridEngine(BatchScheduler):
    name = "Grid Engine"
    flag = "sge"
    programs = ("qsub", "qconf")
    directive = "#$"
    continuation = "chain"
    ends_with = (signal.SIGUSR2,)  # -notify: before qdel kills the job, and seconds before the limit
    no_such_job = ("do not exist", "does not exist")
    task_variable = "SGE_TASK_ID"
    first_task = 1

    def is_configured(self, environment: Mapping[str, str]) -> bool:
        return bool(get(environment, "SGE_ROOT"))

    def job(self, environment: Mapping[str, str]) -> Job | None:
        """Others set JOB_ID too. Grid Engine alone says which task a job is, or "undefined"."""
        given, task = get(environment, "JOB_ID"), get(environment, "SGE_TASK_ID")
        if not given or not task:
            return None
        return Job.of(self.name, given + (f"_{task}" if task.isdecimal() else ""))

    def task(self, environment: Mapping[str, str]) -> int | None:
        return whole_number(environment, self.task_variable)

    def restart_count(self, environment: Mapping[str, str]) -> int:
        """Grid Engine says that it was, and not how often."""
        return int(get(environment, "RESTARTED") == "1")

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        """PE_HOSTFILE has lines such as "node1 2 all.q@node1 UNDEFINED". A job without a parallel environment has none."""
        if not get(environment, "PE_HOSTFILE") and get(environment, "HOSTNAME") and self.job(environment):
            return (Host(get(environment, "HOSTNAME"), 1),)
        lines = lines_of(environment, "PE_HOSTFILE", self.name)
        pairs = [((*line.split(), "")[0], (*line.split(), "")[1]) for line in lines]
        per_rank = whole_number(environment, CPUS_PER_RANK) or 1
        return tuple(
            Host(host.name, max(host.slots // per_rank, 1)) for host in allocated(pairs, "PE_HOSTFILE", self.name)
        )

    def cpus_here(self, environment: Mapping[str, str], host: str) -> int | None:
        return cpus_of_grid_engine(environment, host)

    def launch_agent(self, environment: Mapping[str, str]) -> LaunchAgent | None:
        return LaunchAgent("qrsh -inherit -nostdin -V")

    def options(self, resources: Resources) -> list[str]:
        cpus = resources.cpus_per_rank
        slots = resources.num_hosts * resources.ranks_per_host * cpus
        options = [
            f"-N {job_name(resources.name, letter_first=True)}",
            "-S /bin/bash",  # the site's shell may ignore the first line of the script
            "-cwd",
        ]
        if slots > 1 and not resources.parallel_environment:
            raise UserError(
                f"A Grid Engine job of {slots} slots needs a parallel environment: give --pe NAME. `qconf -spl` lists the "
                "names of this site. Its allocation rule must be the slots of a host, or one that fills hosts."
            )
        if resources.parallel_environment:
            # How many slots a host gives is a rule of the parallel environment.
            options.append(f"-pe {resources.parallel_environment} {slots}")
        options.append(f"-l h_rt={clock(resources.time_limit_s)}")
        if resources.memory_mb_per_rank:
            options.append(f"-l h_vmem={share(resources.memory_mb_per_rank, cpus)}M")
        if resources.exclusive:
            options.append("-l exclusive=true")
        if cpus > 1:
            options.append(f"-v {CPUS_PER_RANK}={cpus}")
        if resources.queue:
            options.append(f"-q {resources.queue}")
        if resources.account:
            options.append(f"-P {resources.account}")
        options.append("-j y")
        if resources.log:
            options.append(f"-o {quoted(resources.log)}")
        if resources.num_tasks is not None:
            options.append(f"-t 1-{resources.num_tasks}")
            if resources.max_parallel:
                options.append(f"-tc {resources.max_parallel}")
        if resources.after:
            options.append(" ".join(self.after_option(resources.after)))
        if resources.mail:
            options += ["-m ea", f"-M {resources.mail}"]
        # -notify: a signal some seconds before the kill at the limit, by the queue's setting.
        return [*options, "-notify", "-r y"]

    def opening(self, resources: Resources) -> list[str]:
        """The PATH of a job is not that of its submission, which has the qsub for a follow-up."""
        return ['export PATH="$PATH:$SGE_O_PATH"']

    def log_marks(self, *, array: bool) -> tuple[str, str]:
        return ("$JOB_ID", "$TASK_ID") if array else ("$JOB_ID", "")

    def submit_command(self, script: str) -> list[str]:
        return ["qsub", "-terse", script]

    def after_option(self, job_id: str) -> list[str]:
        """Grid Engine lets no job wait for one task of an array, so that it waits for the whole array."""
        return ["-hold_jid", split_id(job_id)[0]]

    def exclude_option(self, hosts: Sequence[str]) -> list[str]:
        return ["-l", f"hostname=!({'|'.join(hosts)})"] if hosts else []

    def submitted_id(self, output: str) -> str:
        """`qsub -terse` prints 123, or 123.1-10:1 for an array, perhaps below lines of the site."""
        found = re.fullmatch(r"(\d+)(\.\d+-\d+:\d+)?", output.strip().rpartition("\n")[2].strip(), re.ASCII)
        if not found:
            raise UserError(f"qsub printed no job id, but: {output.strip()[:500] or 'nothing'}.")
        return found[1]

    def status_command(self, job_id: str) -> list[str]:
        """All jobs of the user, a task each. `qstat -j` does not tell a task that waits from one that has ended."""
        return ["qstat", "-xml", "-g", "d"]

    def state(self, output: str, job_id: str) -> State:
        return foremost(_meaning(state) for state in _states(output, job_id))

    def reason(self, output: str, job_id: str) -> str:
        for state in _states(output, job_id):
            if _meaning(state) == "pending":
                why = "its start failed" if "E" in state else "on hold" if "h" in state else ""
                return f"{why} ({state})" if why else ""
        return ""

    def cancel_command(self, job_id: str) -> list[str]:
        number, task = split_id(job_id)
        return ["qdel", number] if task is None else ["qdel", number, "-t", str(task)]

    def time_left_command(self, job_id: str) -> list[str]:
        return ["qstat", "-xml", "-j", split_id(job_id)[0]]

    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        """From the limit and the start of the task. A plain job has one task, with the number 1."""
        limit = LIMIT.search(output)
        wanted = str(split_id(job_id)[1] or 1)
        for task in output.split("<JAT_status>")[1:]:
            number, started = TASK_NUMBER.search(task), STARTED.search(task)
            if limit and number and started and number[1] == wanted:
                left = int(started[1]) + float(limit[1]) - (time.time() if now is None else now)
                return max(left, 0.0)
        return None


def _states(output: str, job_id: str) -> list[str]:
    """The states of a job, or of each of its tasks, in Grid Engine's letters: r, qw, hqw, Eqw, dr."""
    number, task = split_id(job_id)
    states = []
    for entry in re.findall(r"<job_list\b.*?</job_list>", output, re.DOTALL):
        found = {name: value for name, value in re.findall(r"<(JB_job_number|state|tasks)>([^<]*)</", entry)}
        if found.get("JB_job_number") == number and (task is None or found.get("tasks") in (None, str(task))):
            states.append(found.get("state", ""))
    return states


def _meaning(state: str) -> State:
    if "d" in state:
        return "ending"
    return "pending" if "q" in state or "w" in state else "running"
