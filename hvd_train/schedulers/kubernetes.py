"""Kubernetes, by kubectl. A job is a manifest and no script: hvd_train/schedulers/manifests.py makes it.

Read from the documentation and from the mpi-operator's sources (commit caa3c47, v0.8). No cluster was there to try it on.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host, read_hostfile
from hvd_train.schedulers import manifests
from hvd_train.schedulers.base import BatchScheduler, State, get
from hvd_train.schedulers.job import Job, Resources
from hvd_train.schedulers.manifests import Pods

HOSTFILE_VARIABLE = "OMPI_MCA_orte_default_hostfile"  # the operator sets it in the launcher


class Kubernetes(BatchScheduler):
    """Jobs are called KIND_NAME or KIND_NAME_NAMESPACE: mpijob_songs, job_songs_team."""

    name = "Kubernetes"
    flag = "kubernetes"
    programs = ("kubectl",)
    is_detected = False  # kubectl is on many machines that have nothing to do with training
    directive = ""
    continuation = "exit-code"
    submits_by_stdin = True
    survives_lost_hosts = True
    cancels_gently = True
    no_such_job = ("(NotFound)",)
    task_variable = "JOB_COMPLETION_INDEX"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        given = get(environment, manifests.JOB_VARIABLE)
        return Job(self.name, given) if given else None

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        hostfile, slots = get(environment, HOSTFILE_VARIABLE), get(environment, manifests.SLOTS_VARIABLE)
        if hostfile:
            return read_hostfile(Path(hostfile))
        if slots.isdecimal():
            return (Host(socket.gethostname(), int(slots)),)
        raise UserError(
            f"Neither {HOSTFILE_VARIABLE} nor {manifests.SLOTS_VARIABLE} is set: this is no pod of hvd-train submit."
        )

    def options(self, resources: Resources) -> list[str]:
        raise UserError("A job on Kubernetes is a manifest, and no script.")

    def manifest(self, resources: Resources, pods: Pods, command: Sequence[str], environment: Mapping[str, str]) -> str:
        """What is submitted instead of a script, as YAML. Raises UserError for what Kubernetes would refuse."""
        return manifests.to_yaml(manifests.manifest(resources, pods, command, environment))

    def id_of(self, resources: Resources, pods: Pods) -> str:
        """The id that the job will have: on Kubernetes the user names jobs. Raises UserError."""
        return manifests.job_id(manifests.kind(resources), manifests.job_name(resources), pods.namespace)

    def submit_command(self, script: str) -> list[str]:
        # Not `apply`: it would leave a job of the same name as it is, or fail in changing it.
        return ["kubectl", "create", "-f", "-"]

    def submitted_id(self, output: str) -> str:
        """kubectl prints "mpijob.kubeflow.org/songs created". The namespace is not in it."""
        last = output.strip().rpartition("\n")[2]
        kind, _, name = last.partition(" ")[0].partition("/")
        if not name or not last.endswith(" created"):
            raise UserError(f"kubectl printed no created job, but: {output.strip() or 'nothing'}.")
        return manifests.job_id(kind.partition(".")[0], name, "")

    def status_command(self, job_id: str) -> list[str]:
        return ["kubectl", "get", *_target(job_id), "--ignore-not-found", "--output=json"]

    def state(self, output: str, job_id: str) -> State:
        found = _parse(output)
        if found is None:
            return "gone"
        true = _conditions(found)
        status = found.get("status", {})
        # A worker that was evicted makes an MPIJob Failed while its launcher goes on: the time of completion counts.
        if "completionTime" in status or "Complete" in true or ("Failed" in true and found["kind"] == "Job"):
            return "gone"
        if "deletionTimestamp" in found["metadata"] or {"FailureTarget", "SuccessCriteriaMet"} & set(true):
            return "ending"
        if "Suspended" in true:
            return "pending"
        return "running" if "Running" in true or status.get("ready") else "pending"

    def reason(self, output: str, job_id: str) -> str:
        """The message of the newest condition, such as "Job suspended"."""
        found = _parse(output)
        true = _conditions(found) if found else {}
        return next(reversed(true.values()), "")

    def verdict(self, output: str, job_id: str) -> Literal["complete", "failed"] | None:
        found = _parse(output)
        true = _conditions(found) if found else {}
        if {"Complete", "Succeeded"} & set(true):
            return "complete"
        return "failed" if "Failed" in true else None

    def forget_command(self, job_id: str) -> list[str]:
        # Until its pods are gone too: new ones have the same names.
        return ["kubectl", "delete", *_target(job_id), "--ignore-not-found", "--cascade=foreground"]

    def cancel_command(self, job_id: str) -> list[str]:
        # The pods get SIGTERM, and the time that the manifest gives them for a checkpoint.
        return ["kubectl", "delete", *_target(job_id), "--wait=false"]

    def log_command(self, job_id: str, *, follow: bool = False) -> list[str]:
        """Prints the output of the command."""
        return ["kubectl", "logs", *_pod(job_id), *(["--follow"] if follow else [])]

    def time_left_command(self, job_id: str) -> list[str]:
        return self.status_command(job_id)

    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        """None: at the limit Kubernetes itself sends SIGTERM and gives time for a checkpoint."""
        return None


def _parts(job_id: str) -> tuple[str, str, list[str]]:
    """Kind, name, and the option that names the namespace."""
    kind, name, namespace = (*job_id.split("_", 2), "", "")[:3]
    if kind not in ("job", "mpijob") or not name:
        raise UserError(f"{job_id!r} is no job on Kubernetes: these are called mpijob_NAME, or job_NAME for one pod.")
    return kind, name, [f"--namespace={namespace}"] if namespace else []


def _target(job_id: str) -> list[str]:
    kind, name, namespace = _parts(job_id)
    return [f"{'mpijobs.kubeflow.org' if kind == 'mpijob' else 'jobs.batch'}/{name}", *namespace]


def _pod(job_id: str) -> list[str]:
    """The pod that runs the command: kubectl takes the Job that made it."""
    kind, name, namespace = _parts(job_id)
    return [f"job/{name}-launcher" if kind == "mpijob" else f"job/{name}", *namespace]


def _parse(output: str) -> dict[str, Any] | None:
    """The object that kubectl printed; None where there is none."""
    if not output.strip():
        return None
    try:
        found = json.loads(output)
        found["metadata"], found["kind"]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"kubectl printed no job, but: {output.strip()[:200]}") from None
    return dict(found)


def _conditions(found: Mapping[str, Any]) -> dict[str, str]:
    """The messages of the conditions that hold, in the order of time, by type."""
    listed = found.get("status", {}).get("conditions") or []
    return {each["type"]: each.get("message", "") for each in listed if each.get("status") == "True"}
