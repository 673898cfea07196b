"""Jobs on Kubernetes: their files are in a volume that this machine may not see, so other things are checked, and less.

The pods have the volume as /runs. The run runs/NAME is /runs/NAME there, and here runs/NAME/job keeps what was submitted.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from hvd_train.cluster.submit.settings import Settings
from hvd_train.cluster.submit.spec import JOB, JobSpec, Verb
from hvd_train.errors import UserError
from hvd_train.schedulers import Kubernetes, Pods, Resources

VOLUME = PurePosixPath("/runs")


def pods_of(settings: Settings, verb: Verb, *, is_array: bool) -> Pods:
    """What the manifest needs beside the resources. UserError for what pods cannot do."""
    if verb != "train":
        raise UserError(f"On Kubernetes a job runs train, not {verb}.")
    if is_array:
        raise UserError("Jobs on Kubernetes have no --array. Submit each set of flags with a --name of its own.")
    if settings.setup:
        raise UserError(
            "--setup is for job scripts. A pod has the environment of its image: build one with docker/Dockerfile."
        )
    if settings.launcher != "mpirun":
        raise UserError(f"--launcher {settings.launcher}: on Kubernetes the ranks are started by mpirun alone.")
    for flag, text, form in (
        ("--namespace", settings.namespace, r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"),
        ("--pvc", settings.pvc, r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"),
        ("--image", settings.image, r"[\w.:/@-]+"),
    ):
        if text and not re.fullmatch(form, text, re.ASCII):
            raise UserError(
                f"{flag} {text!r} is not in the form of Kubernetes, which is {form} as a regular expression."
            )
    return Pods(
        image=settings.image, pvc=settings.pvc, namespace=settings.namespace, max_restarts=settings.max_restarts
    )


def run_directory(given: str, scheduler: Kubernetes, resources: Resources, pods: Pods) -> str:
    """The directory below this one that stands for the run in the volume: runs/NAME. UserError for another place."""
    job_id = scheduler.id_of(resources, pods)
    path = PurePosixPath((given or f"runs/{job_id.split('_')[1]}").replace(JOB, job_id))
    inside = path if path.is_absolute() else "/" / path
    if not inside.is_relative_to(VOLUME) or inside == VOLUME or ".." in inside.parts:
        raise UserError(
            f"--run-dir {given}: on Kubernetes runs are in the volume of --pvc, which the pods have as {VOLUME}. "
            "Give --run-dir runs/NAME."
        )
    return str(inside.relative_to("/"))


def require_in_the_pods(data: object, flag: str = "--data") -> None:
    """UserError where a path cannot be that of a file in the pods."""
    if data is not None and not PurePosixPath(str(data)).is_absolute():
        raise UserError(
            f"{flag} {data}: on Kubernetes this is a path in the pods, which have the volume of --pvc as {VOLUME}. "
            f"Copy the table there, and give {flag} {VOLUME / PurePosixPath(str(data)).name}."
        )


def manifest_of(spec: JobSpec, scheduler: Kubernetes, resources: Resources) -> str:
    """The text that is submitted instead of a script."""
    assert spec.pods is not None
    run = ["--run-dir", f"/{spec.run_dir}"]
    command = ["hvd-train", "supervise", *spec.supervise, "--", spec.verb, *spec.flags, *run]
    return scheduler.manifest(resources, spec.pods, command, spec.environment)
