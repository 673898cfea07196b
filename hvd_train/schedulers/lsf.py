"""LSF of IBM. Written from its documentation: nobody has run it here yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hvd_train.errors import TO_BE_CONTINUED, UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers.allocation import allocated, lines_of
from hvd_train.schedulers.base import BatchScheduler, LaunchAgent, State, foremost, get, whole_number
from hvd_train.schedulers.forms import job_name, quoted, share, with_brackets
from hvd_train.schedulers.job import Job, Resources
from hvd_train.schedulers.shares import cpus_of_lsf

# Others, such as DONE and EXIT, mean that the job has ended. UNKWN: its host cannot be reached, as far as LSF knows.
STATES: Mapping[str, State] = {
    **dict.fromkeys(("PEND", "PSUSP", "WAIT", "PROV"), "pending"),
    **dict.fromkeys(("RUN", "USUSP", "SSUSP", "UNKWN"), "running"),
    "ZOMBI": "ending",
}


class Lsf(BatchScheduler):
    name = "LSF"
    flag = "lsf"
    programs = ("bsub", "bjobs")
    directive = "#BSUB"
    continuation = "exit-code"
    warns = True
    submits_by_stdin = True
    no_such_job = ("is not found", "No matching job found", "already finished")
    task_variable = "LSB_JOBINDEX"
    first_task = 1

    def job(self, environment: Mapping[str, str]) -> Job | None:
        given, task = get(environment, "LSB_JOBID"), self.task(environment)
        return Job.of(self.name, given + ("" if task is None else f"_{task}")) if given else None

    def task(self, environment: Mapping[str, str]) -> int | None:
        """LSB_JOBINDEX is 0 outside of an array."""
        return whole_number(environment, self.task_variable) or None

    def restart_count(self, environment: Mapping[str, str]) -> int:
        """LSF says that it was, and not how often."""
        return int(get(environment, "LSB_RESTART").upper() == "Y")

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        """LSB_MCPU_HOSTS is "node1 2 node2 2". LSB_DJOB_HOSTFILE has a line for each slot, and no line is too long for it.

        Sites with a launch host name it first, with one slot: the script runs there, and ranks do not.
        """
        if get(environment, "LSB_DJOB_HOSTFILE"):
            lines = lines_of(environment, "LSB_DJOB_HOSTFILE", self.name)
            hosts = allocated([(line, "1") for line in lines], "LSB_DJOB_HOSTFILE", self.name)
        else:
            words = get(environment, "LSB_MCPU_HOSTS").split()
            if not words:
                raise UserError(
                    "Neither LSB_DJOB_HOSTFILE nor LSB_MCPU_HOSTS is set: this is no LSF job, or its environment was not "
                    "passed on."
                )
            pairs = list(zip(words[::2], [*words[1::2], ""], strict=False))
            hosts = allocated(pairs, "LSB_MCPU_HOSTS", self.name)
        return hosts[1:] if _launches_elsewhere(hosts) else hosts

    def cpus_here(self, environment: Mapping[str, str], host: str) -> int | None:
        return cpus_of_lsf(environment, host)

    def launch_agent(self, environment: Mapping[str, str]) -> LaunchAgent | None:
        return LaunchAgent("blaunch")

    def options(self, resources: Resources) -> list[str]:
        ranks, cpus = resources.ranks_per_host, resources.cpus_per_rank
        memory = resources.memory_mb_per_rank
        name = job_name(resources.name)
        if resources.num_tasks is not None:
            limit = f"%{resources.max_parallel}" if resources.max_parallel else ""
            name = f'"{name}[1-{resources.num_tasks}]{limit}"'
        needs = [f"span[ptile={ranks}]"]
        if cpus > 1:
            needs.append(f"affinity[core({cpus})]")
        if memory:
            needs.append(f"rusage[mem={memory}MB/task]")
        options = [
            f"-J {name}",
            f"-n {resources.num_hosts * ranks}",
            f'-R "{" ".join(needs)}"',
            f"-W {_hours_minutes(resources.time_limit_s)}",
            "-wa USR1",
            f"-wt {_hours_minutes(resources.warning_s)}",
        ]
        if resources.exclusive:
            options.append("-x")
        if resources.queue:
            options.append(f"-q {resources.queue}")
        if resources.account:
            options.append(f"-P {resources.account}")
        if resources.log:
            options.append(f"-o {quoted(resources.log)}")
        if resources.after:
            options.append(f'-w "{self.after_option(resources.after)[1]}"')
        if resources.mail:
            options += ["-N", f"-u {resources.mail}"]
        # -Q: a job that ends with this code is queued again. -r: also where its host is lost.
        return [*options, f'-Q "{TO_BE_CONTINUED}"', "-r"]

    def log_marks(self, *, array: bool) -> tuple[str, str]:
        return ("%J", "%I") if array else ("%J", "")

    def submit_command(self, script: str) -> list[str]:
        return ["bsub"]

    def after_option(self, job_id: str) -> list[str]:
        return ["-w", f"ended({_id(job_id)})"]

    def exclude_option(self, hosts: Sequence[str]) -> list[str]:
        return ["-R", f"select[{' && '.join(f'hname!={host}' for host in hosts)}]"] if hosts else []

    def submitted_id(self, output: str) -> str:
        """`bsub` prints "Job <123> is submitted to queue <normal>.", perhaps among lines of the site."""
        found = re.findall(r"^Job <(\d+)> is submitted to ", output, re.MULTILINE | re.ASCII)
        if not found:
            raise UserError(f"bsub printed no job id, but: {output.strip()[:500] or 'nothing'}.")
        return str(found[-1])

    def status_command(self, job_id: str) -> list[str]:
        return ["bjobs", "-noheader", "-o", "stat pend_reason delimiter='|'", _id(job_id)]

    def state(self, output: str, job_id: str) -> State:
        return foremost(STATES.get(line.partition("|")[0].strip(), "gone") for line in output.split("\n"))

    def reason(self, output: str, job_id: str) -> str:
        for line in output.split("\n"):
            state, _, reason = line.partition("|")
            if STATES.get(state.strip()) == "pending":
                return reason.strip().strip("-;").strip()
        return ""

    def cancel_command(self, job_id: str) -> list[str]:
        return ["bkill", _id(job_id)]

    def warn_command(self, job_id: str) -> list[str] | None:
        return ["bkill", "-s", "USR1", _id(job_id)]

    def requeue_command(self, job_id: str) -> list[str] | None:
        return ["brequeue", _id(job_id)]

    def time_left_command(self, job_id: str) -> list[str]:
        return ["bjobs", "-noheader", "-o", "time_left", _id(job_id)]

    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        """Hours and minutes such as "0:30 L", where L is a limit and E an estimate. A dash is no limit."""
        found = re.match(r"\s*(\d{1,7}):(\d{1,2}) L", output, re.ASCII)
        return float(int(found[1]) * 3600 + int(found[2]) * 60) if found else None


def _id(job_id: str) -> str:
    return with_brackets(job_id).removesuffix("[]")


def _launches_elsewhere(hosts: Sequence[Host]) -> bool:
    """Whether the first host is a launch host: one slot, where all the others have more and the same."""
    others = {host.slots for host in hosts[1:]}
    return len(hosts) > 1 and hosts[0].slots == 1 and len(others) == 1 and others != {1}


def _hours_minutes(seconds: int) -> str:
    """[H:]MM with a part of a minute as one.

    >>> _hours_minutes(5401)
    '1:31'
    """
    minutes = share(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02d}"
