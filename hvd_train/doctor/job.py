"""The doctor in a batch job: what the scheduler gave, and whether ranks can start on all of it. Outside of one: nothing.

Every question to another host or to the scheduler has a limit. The hosts are asked side by side.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hvd_train.doctor import job_rules
from hvd_train.doctor.job_rules import Answer
from hvd_train.doctor.probes import run_limited
from hvd_train.doctor.rules import Finding
from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers import BatchScheduler, Job, cpus_of_job, detect_job, is_same_host, scheduler_of_job

ANSWER_S = 15.0
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
PMIX_STEP = ("srun", "--overlap", "--mem=0", "--mpi=pmix", "--quiet", "--nodes=1", "--ntasks=1", "true")


def examine_job(environment: Mapping[str, str], *, folder: Path = Path()) -> list[Finding]:
    """What is to be said of the batch job around this process; nothing outside of one.

    `folder` is where runs are written. A file is made there and removed again.
    """
    job, scheduler = detect_job(environment), scheduler_of_job(environment)
    if job is None or scheduler is None:
        return []
    try:
        hosts, problem = scheduler.hosts(environment), ""
    except UserError as error:
        hosts, problem = (), str(error)
    found: list[Finding | None] = [
        job_rules.judge_job(str(job), hosts, problem),
        job_rules.judge_share(cpus_of_job(environment, socket.gethostname()), len(os.sched_getaffinity(0))),
        *_ask_hosts(scheduler, environment, hosts, folder),
        job_rules.judge_parts(scheduler.name, _ompi_info()),
        _pmix(scheduler),
        _time(scheduler, job),
    ]
    return [finding for finding in found if finding is not None]


def _ask_hosts(
    scheduler: BatchScheduler, environment: Mapping[str, str], hosts: Sequence[Host], folder: Path
) -> list[Finding | None]:
    """Whether the other hosts answer, and whether they see a file that is written here."""
    others = [host for host in hosts if not is_same_host(host.name, socket.gethostname())]
    if not others:
        return []
    word = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="hvd_train-doctor-") as scratch:
        agent = _agent(scheduler, environment, Path(scratch))
        mark = folder.resolve() / f".hvd_train-doctor-{word[:12]}"
        try:
            mark.write_text(word + "\n")
        except OSError:
            mark = Path("/nowhere")  # not ours to write in: nobody sees it
        # A failing `cat` is an answer, too.
        line = f"cat {shlex.quote(str(mark))} 2>/dev/null || true"
        try:
            with ThreadPoolExecutor(max_workers=32) as pool:
                told = pool.map(lambda host: _ask(scheduler, agent, host, line), others)
                answers = dict(zip((str(host) for host in others), told, strict=True))
        finally:
            mark.unlink(missing_ok=True)
    through = "srun" if scheduler.run_on_host("x", "true") else scheduler_agent_name(agent)
    return [
        job_rules.judge_hosts(answers, through, ANSWER_S),
        job_rules.judge_shared(answers, word, str(folder.resolve())),
    ]


def _agent(scheduler: BatchScheduler, environment: Mapping[str, str], scratch: Path) -> list[str]:
    """The words in front of a host's name, by which mpirun reaches it."""
    agent = scheduler.launch_agent(environment)
    if agent is None:
        return list(SSH)
    script = scratch / "agent"
    if agent.script:
        script.write_text(agent.script)
        script.chmod(0o755)
    return shlex.split(agent.command.replace("{script}", str(script)))


def scheduler_agent_name(agent: Sequence[str]) -> str:
    """What a finding calls the launch agent.

    >>> scheduler_agent_name(["qrsh", "-inherit"]), scheduler_agent_name(["/tmp/x/agent"])
    ('qrsh', 'pbs_tmrsh')
    """
    name = Path(agent[0]).name
    return "pbs_tmrsh" if name == "agent" else name


def _ask(scheduler: BatchScheduler, agent: Sequence[str], host: Host, line: str) -> Answer:
    command = scheduler.run_on_host(host.name, line)
    code, out, err = run_limited(command or [*agent, str(host), f"/bin/sh -c {shlex.quote(line)}"], ANSWER_S)
    return Answer(code, out + err)


def _ompi_info() -> str:
    """What the Open MPI of this mpirun is made of; empty where that cannot be asked."""
    mpirun = shutil.which("mpirun")
    beside = Path(mpirun).with_name("ompi_info") if mpirun else Path("ompi_info")
    return run_limited([str(beside), "--parsable"], ANSWER_S)[1] if beside.exists() else ""


def _pmix(scheduler: BatchScheduler) -> Finding | None:
    if scheduler.name != "Slurm":
        return None
    _, out, err = run_limited(["srun", "--mpi=list"], ANSWER_S)
    code, *said = run_limited(PMIX_STEP, ANSWER_S)
    return job_rules.judge_pmix(out + err, code, "\n".join(said))


def _time(scheduler: BatchScheduler, job: Job) -> Finding:
    """How long the job may still take, and whether a signal warns before. Grid Engine alone says whether it was asked to."""
    _, out, _ = run_limited(scheduler.time_left_command(job.id), ANSWER_S)
    warning: bool | None = None
    if notify := re.search(r"<JB_notify>(\w+)</JB_notify>", out):
        warning = notify[1] in ("true", "1")
    elif not scheduler.warns:
        warning = False
    return job_rules.judge_time(scheduler.time_left_s(out, job.id), warning, scheduler.name)
