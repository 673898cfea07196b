"""The job script: thin and whole. Directives, `cd`, setup lines, environment, and an `exec` of hvd_train.

Whatever the job does can be read in it. `exec` matters: the supervisor then is the process of the script, which the
scheduler's signals reach.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence

from hvd_train.cluster.submit.spec import JOB, JobSpec, Task
from hvd_train.cluster.submit.volume import manifest_of
from hvd_train.schedulers import BatchScheduler, Kubernetes, Resources
from hvd_train.schedulers import script as job_script

# Those of scripts/mpi.env, without its oversubscription: a job has as many slots as ranks.
OPEN_MPI: Mapping[str, str] = {
    "OMPI_MCA_btl_base_warn_component_unused": "0",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_oob_tcp_keepalive_time": "10",
    "OMPI_MCA_oob_tcp_keepalive_intvl": "5",
    "OMPI_MCA_oob_tcp_keepalive_probes": "3",
}
AS_ROOT: Mapping[str, str] = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
# Verbs that the supervisor starts. `tune` starts ranks of its own.
SUPERVISED = ("train", "ensemble", "evaluate")
# The flag of the run directory.
DIRECTORY = {"train": "--run-dir", "ensemble": "--run-dir", "tune": "--out", "evaluate": ""}


def environment() -> dict[str, str]:
    """What a job script exports besides PATH."""
    return {"PYTHONUNBUFFERED": "1", **OPEN_MPI, **(AS_ROOT if os.geteuid() == 0 else {})}


def script_of(spec: JobSpec, scheduler: BatchScheduler) -> str:
    """The text of the job script, or of the manifest that takes its place on Kubernetes."""
    resources = asked_for(spec, scheduler)
    if isinstance(scheduler, Kubernetes):
        return manifest_of(spec, scheduler, resources)
    return job_script(scheduler, resources, list(_lines(spec, scheduler)))


def asked_for(spec: JobSpec, scheduler: BatchScheduler) -> Resources:
    """The resources with the log file as the scheduler wants it."""
    job, task = scheduler.log_marks(array=bool(spec.tasks))
    mark = f"{job}_{task}" if job and task else job or task
    return dataclasses.replace(
        spec.resources, log=spec.log.replace(JOB, mark), num_tasks=len(spec.tasks) if spec.tasks else None
    )


def _lines(spec: JobSpec, scheduler: BatchScheduler) -> list[str]:
    lines = [f"cd {shlex.quote(spec.working_directory)} || exit 3", *spec.setup]
    lines.append(f'export PATH={shlex.quote(spec.programs)}:"$PATH"')
    lines += [f"export {name}={shlex.quote(value)}" for name, value in spec.environment.items()]
    if spec.tasks:
        lines += _choice_of_task(spec.tasks, scheduler)
    return [*lines, *_start(spec)]


def _choice_of_task(tasks: Sequence[Task], scheduler: BatchScheduler) -> list[str]:
    """A `case` that sets `flags` to those of this task, and `run_dir` where the tasks have their own."""
    lines = [f'case "${scheduler.task_variable}" in']
    for number, task in enumerate(tasks, scheduler.first_task):
        run_dir = f"; run_dir={shlex.quote(task.run_dir)}" if task.run_dir else ""
        lines.append(f"    {number}) flags=({shlex.join(task.flags)}){run_dir} ;;")
    name = scheduler.task_variable
    lines.append(f"    *) echo \"error: {name} is '${name}', which is no task of this job\" >&2; exit 2 ;;")
    return [*lines, "esac"]


def _start(spec: JobSpec) -> list[str]:
    words = [spec.verb, *map(shlex.quote, spec.flags)]
    if spec.tasks:
        words.append('"${flags[@]}"')
    if flag := DIRECTORY[spec.verb]:
        has_own = any(task.run_dir for task in spec.tasks)
        words += [flag, '"$run_dir"' if has_own else shlex.quote(spec.run_dir)]
    if spec.verb not in SUPERVISED:
        return [f"exec hvd-train {' '.join(words)}"]
    return [f"exec hvd-train supervise {shlex.join(spec.supervise)} \\", f"    -- {' '.join(words)}"]
