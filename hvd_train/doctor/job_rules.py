"""The doctor's judgement of a batch job: what was found -> findings with a way out. Pure functions; nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hvd_train.doctor.rules import Finding
from hvd_train.hostfiles import Host
from hvd_train.text import clock

# By scheduler: what Open MPI calls its part that reads the allocation.
PARTS = {"Slurm": "slurm", "PBS": "tm", "LSF": "lsf", "Grid Engine": "gridengine"}
SUPERVISE = "`hvd-train supervise -- train ...` starts ranks on all hosts of the job"
BY_HAND = "By hand: hvd-train hostfile job > hosts, and mpirun --hostfile hosts"


@dataclass(frozen=True)
class Answer:
    """What a host said when it was asked to show a file: the exit code (None: not in time), and its output."""

    code: int | None
    output: str


def judge_job(job: str, hosts: Sequence[Host], problem: str = "") -> Finding:
    """`problem` is why the hosts are not known."""
    if problem:
        return Finding("warning", "job", f"{job}; its hosts are not known", problem)
    listed = ", ".join(f"{host}: {host.slots}" for host in hosts)
    slots, number = sum(host.slots for host in hosts), len(hosts)
    return Finding("ok", "job", f"{job}, {slots} slots on {number} host{'s' * (number != 1)} ({listed})")


def judge_share(granted: int | None, cores: int) -> Finding:
    """`granted` are the CPUs of the job on this host, `cores` those that this process may run on."""
    if granted is None:
        return Finding("ok", "job's CPUs", "the scheduler does not say how many: all that this process may use")
    if granted < cores:
        found = (
            f"{granted} of the {cores} that this process may use: other jobs share them, so no rank is bound to cores"
        )
        return Finding("ok", "job's CPUs", found)
    if granted > cores:
        way_out = "Something has bound this shell to fewer. Start the doctor in the job script itself, and mpirun with --bind-to none."
        return Finding("warning", "job's CPUs", f"{granted}, of which this process may use {cores}", way_out)
    return Finding("ok", "job's CPUs", str(granted))


def judge_hosts(answers: Mapping[str, Answer], agent: str, limit_s: float) -> Finding:
    """Whether each host of the job runs a command. `agent` is how it was asked."""
    silent = {name: answer for name, answer in answers.items() if answer.code != 0}
    if not silent:
        return Finding("ok", "hosts", f"{', '.join(answers)} answer{'s' * (len(answers) == 1)} through {agent}")
    why = "; ".join(f"{name}: {_said(answer, limit_s)}" for name, answer in silent.items())
    way_out = f"Ranks cannot start there. Try it by hand through {agent}; `hvd-train supervise` leaves such hosts out."
    return Finding("error", "hosts", why, way_out)


def _said(answer: Answer, limit_s: float) -> str:
    if answer.code is None:
        return f"no answer within {limit_s:g} s"
    lines = [line.strip() for line in answer.output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit code {answer.code}"


def judge_shared(answers: Mapping[str, Answer], word: str, folder: str) -> Finding | None:
    """Whether the other hosts see what was written to `folder` here; None where no other host answered."""
    heard = {name: answer for name, answer in answers.items() if answer.code == 0}
    if not heard:
        return None
    blind = [name for name, answer in heard.items() if word not in answer.output]
    if not blind:
        return Finding("ok", "files", f"{folder} is one directory on all hosts of the job")
    way_out = "Runs that start there are seen by the first host alone. Put --run-dir, the data and the environment on a shared file system."
    return Finding("warning", "files", f"{', '.join(blind)} does not see what is written to {folder} here", way_out)


def parts_of(ompi_info: str, framework: str) -> tuple[str, ...]:
    """The components of a framework, from the output of `ompi_info --parsable`.

    >>> parts_of("mca:ras:slurm:version:mca:2.1.0\\nmca:plm:rsh:version:mca:2.1.0", "ras")
    ('slurm',)
    """
    return tuple(dict.fromkeys(re.findall(rf"^mca:{framework}:([a-z0-9_]+):version:", ompi_info, re.MULTILINE)))


def judge_parts(scheduler: str, ompi_info: str) -> Finding | None:
    """Whether mpirun sees the allocation by itself; None where nothing is known of it."""
    ras, plm = parts_of(ompi_info, "ras"), parts_of(ompi_info, "plm")
    if not ras or scheduler not in PARTS:
        return None
    known = [name for name in ras if name != "simulator"]  # which reads a file of made-up hosts
    found = f"allocation: {', '.join(known)}; start: {', '.join(plm)}"
    if PARTS[scheduler] in ras:
        return Finding("ok", "mpirun sees", found)
    way_out = (
        f"It knows no {scheduler}: plain mpirun uses the first host alone, with exit code 0. {SUPERVISE}. {BY_HAND}."
    )
    return Finding("warning", "mpirun sees", found, way_out)


def judge_pmix(listed: str, code: int | None, output: str) -> Finding:
    """`listed` is what `srun --mpi=list` prints. `code` and `output` are those of a step under `srun --mpi=pmix`."""
    if code == 0:
        return Finding("ok", "PMIx", "srun --mpi=pmix works")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "pmix" in listed.split():
        found = f"Slurm lists it, but srun --mpi=pmix fails: {lines[0][:200] if lines else 'no answer in time'}"
    else:
        kinds = re.findall(r"^\s*([a-z][a-z0-9_]*)\s*$", listed, re.MULTILINE)
        found = f"this Slurm has none ({', '.join(kinds) or 'srun --mpi=list prints nothing'})"
    way_out = (
        "Start ranks by mpirun or `hvd-train supervise`. srun needs libpmix.so on each node (Debian: libpmix-dev)."
    )
    return Finding("warning", "PMIx", found, way_out)


def judge_time(left_s: float | None, warning: bool | None, scheduler: str) -> Finding:
    """`warning`: whether the scheduler sends a signal before the limit; None where that is not known."""
    left = "no limit is known" if left_s is None else f"{clock(int(left_s))} left"
    told = {
        True: f"{scheduler} sends a signal before the limit",
        False: f"{scheduler} sends no signal before the limit",
        None: "whether a signal comes before the limit is not known",
    }[warning]
    if warning is True or left_s is None:
        return Finding("ok", "time", f"{left}; {told}")
    way_out = (
        "Save in time by `hvd-train train --stop-after H:MM`, or start it by `hvd-train supervise`, which has a timer."
    )
    return Finding(
        "ok" if warning is None else "warning", "time", f"{left}; {told}", way_out if warning is False else ""
    )
