"""Manifests for Kubernetes: an MPIJob of several pods, or a plain Job of one. Pure: resources in, text out.

    text = to_yaml(manifest(resources, pods, ["hvd-train", "supervise", "--", "train", ...]))

An MPIJob (`kubeflow.org/v2beta1`) needs the mpi-operator in the cluster. Its launcher pod runs the command, which starts
the ranks in the worker pods by ssh. A job on one host needs no operator, so it is a Job of Kubernetes itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvd_train.errors import TO_BE_CONTINUED, UserError
from hvd_train.schedulers.job import Resources
from hvd_train.text import MIB, memory

RUNS = "/runs"
"""Where the pods mount the volume that holds the runs."""
KEYS = "/home/hvd/.ssh"
"""Where the operator mounts the keys of a job. docker/hvd-entrypoint and docker/ssh expect them there."""
SSH_PORT = 2222
"""As in docker/hvd-entrypoint."""
JOB_VARIABLE, SLOTS_VARIABLE = "HVD_KUBERNETES_JOB", "HVD_KUBERNETES_SLOTS"
DEFAULT_MEMORY_MB_PER_RANK = 4096
# docker/hvd-entrypoint refuses less.
LEAST_SHARED_MEMORY_MB, MOST_SHARED_MEMORY_MB = 256, 1024
LONGEST_LABEL = 63
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
# The user hvd of the image. A volume belongs to its group.
POD_SECURITY = {
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "runAsNonRoot": True,
    "fsGroup": 1000,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Starting once more would end in the same way: a mistake of the user, the environment, memory.
FINAL_CODES = [2, 3, 5]


@dataclass(frozen=True, kw_only=True)
class Pods:
    """What a job on Kubernetes needs beside its resources."""

    image: str
    """An image of docker/Dockerfile in a registry that the cluster pulls from."""
    pvc: str
    """The PersistentVolumeClaim that is mounted as RUNS."""
    namespace: str = ""
    """Empty is the namespace of kubectl's context."""
    max_restarts: int = 3
    """How often Kubernetes starts the command again after a failure."""


def manifest(
    resources: Resources, pods: Pods, command: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The object for these resources: a Job for one host, otherwise an MPIJob. Raises UserError for what it cannot say.

    `environment` are further variables of the command.
    """
    refuse_unknown(resources)
    if not pods.image:
        raise UserError(
            "A job on Kubernetes needs --image: an image of docker/Dockerfile in a registry of the cluster."
        )
    if not pods.pvc:
        raise UserError(
            "A job on Kubernetes needs --pvc: the PersistentVolumeClaim for the runs. Without it they end with the pods."
        )
    build = job if resources.num_hosts == 1 else mpijob
    return build(resources, pods, command, environment)


def kind(resources: Resources) -> str:
    """The type as kubectl takes it."""
    return "job" if resources.num_hosts == 1 else "mpijob"


def job_name(resources: Resources) -> str:
    """The name of the object: lower case, with - for dots and _. Raises UserError where it is none for Kubernetes."""
    name = re.sub(r"[._]", "-", resources.name.lower()).strip("-")
    # The operator gives each pod its name as host name.
    longest = f"{name}-worker-{resources.num_hosts - 1}" if resources.num_hosts > 1 else f"{name}-0"
    if not LABEL.fullmatch(name):
        raise UserError(
            f"The name {resources.name!r} cannot name a job on Kubernetes: it must begin with a letter, "
            "and have letters, digits and - alone. Give another --name."
        )
    if len(longest) > LONGEST_LABEL:
        raise UserError(
            f"The name {resources.name!r} is too long for Kubernetes: its pod {longest} has {len(longest)} characters, "
            f"and at most {LONGEST_LABEL} are allowed. Give a shorter --name."
        )
    return name


def refuse_unknown(resources: Resources) -> None:
    """UserError for settings that a manifest has no field for."""
    given = {
        "--account": resources.account,
        "--exclusive": resources.exclusive,
        "--array": resources.num_tasks,
        "--after": resources.after,
        "--mail": resources.mail,
        "--pe": resources.parallel_environment,
        "--directive": resources.extra_directives,
        "--skip-directive": resources.skip_directives,
    }
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise UserError(
            f"Jobs on Kubernetes have no {', '.join(flags)}. Leave this out, or edit what --dry-run prints."
        )


def mpijob(resources: Resources, pods: Pods, command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """An MPIJob: `command` in a launcher, and a worker pod for each host."""
    name = job_name(resources)
    variables = {JOB_VARIABLE: job_id("mpijob", name, pods.namespace), **environment}
    launcher = _container("launcher", pods, command, cpus=1, memory_mb=1024, environment=variables)
    cpus, memory_mb = _share(resources)
    serve = ["hvd-entrypoint", "mpijob-worker"]
    worker = _container("worker", pods, serve, cpus=cpus, memory_mb=memory_mb, shared_memory=True)
    # The launcher starts when all workers are ready, and a worker has a DNS name from then on.
    template = _pod(resources, pods, worker, _shared_memory_mb(resources))
    worker["readinessProbe"] = {"tcpSocket": {"port": SSH_PORT}, "periodSeconds": 2}
    # With Never, the operator's Job makes no second launcher (mpi-operator issue 651).
    retried = {"restartPolicy": "OnFailure"}
    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": _metadata(resources, pods),
        "spec": {
            "slotsPerWorker": resources.ranks_per_host,
            "mpiImplementation": "OpenMPI",
            "sshAuthMountPath": KEYS,
            "launcherCreationPolicy": "WaitForWorkersReady",
            "runPolicy": {
                "cleanPodPolicy": "Running",
                "backoffLimit": pods.max_restarts,
                "activeDeadlineSeconds": resources.time_limit_s,
            },
            "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, **retried, "template": _pod(resources, pods, launcher)},
                "Worker": {"replicas": resources.num_hosts, **retried, "template": template},
            },
        },
    }


def job(resources: Resources, pods: Pods, command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """An Indexed Job of one pod, which has the same host name after each restart."""
    name = job_name(resources)
    variables = {
        JOB_VARIABLE: job_id("job", name, pods.namespace),
        SLOTS_VARIABLE: str(resources.ranks_per_host),
        **environment,
    }
    cpus, memory_mb = _share(resources)
    container = _container(
        "train", pods, command, cpus=cpus, memory_mb=memory_mb, environment=variables, shared_memory=True
    )
    pod = _pod(resources, pods, container, _shared_memory_mb(resources))
    pod["spec"]["restartPolicy"] = "Never"  # what podFailurePolicy asks for; a failed pod is replaced
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(resources, pods),
        "spec": {
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": pods.max_restarts,
            "activeDeadlineSeconds": resources.time_limit_s,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": _codes(container["name"], FINAL_CODES)},
                    {"action": "Ignore", "onExitCodes": _codes(container["name"], [TO_BE_CONTINUED])},
                    # An eviction, a drained or a lost node: no fault of the job.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": pod,
        },
    }


def job_id(kind: str, name: str, namespace: str) -> str:
    """How hvd-train calls a job on Kubernetes. Names there have no _.

    >>> job_id("mpijob", "songs", "team")
    'mpijob_songs_team'
    """
    return "_".join(part for part in (kind, name, namespace) if part)


def mebibytes(count: int) -> str:
    """A quantity of memory.

    >>> mebibytes(2048), mebibytes(1500)
    ('2Gi', '1500Mi')
    """
    return f"{count}Mi" if count % 1024 else f"{count // 1024}Gi"


def to_yaml(document: Mapping[str, Any]) -> str:
    """As YAML, in the order of the keys."""
    import yaml  # late: it takes as long as the rest of a command

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True  # equal parts are written out, as people write a manifest

    return yaml.dump(dict(document), Dumper=Dumper, sort_keys=False, width=120)


def _metadata(resources: Resources, pods: Pods) -> dict[str, Any]:
    name = job_name(resources)
    namespace = {"namespace": pods.namespace} if pods.namespace else {}
    # Kueue holds the job until its queue has room. Elsewhere the label does nothing.
    queue = {"kueue.x-k8s.io/queue-name": resources.queue} if resources.queue else {}
    return {"name": name, **namespace, "labels": {**_labels(resources), **queue}}


def _labels(resources: Resources) -> dict[str, str]:
    return {"app.kubernetes.io/name": "hvd-train", "app.kubernetes.io/instance": job_name(resources)}


def _pod(
    resources: Resources, pods: Pods, container: Mapping[str, Any], shared_memory_mb: int | None = None
) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "runs", "persistentVolumeClaim": {"claimName": pods.pvc}}]
    if shared_memory_mb is not None:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": mebibytes(shared_memory_mb)}})
    return {
        "metadata": {"labels": _labels(resources)},
        "spec": {
            "securityContext": POD_SECURITY,
            # Time for a checkpoint between SIGTERM and SIGKILL.
            "terminationGracePeriodSeconds": resources.warning_s,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": volumes,
        },
    }


def _container(
    name: str,
    pods: Pods,
    command: Sequence[str],
    *,
    cpus: int,
    memory_mb: int,
    environment: Mapping[str, str] | None = None,
    shared_memory: bool = False,
) -> dict[str, Any]:
    # Requests equal to limits: no other pod gets the CPUs and the memory of this one.
    given = {"cpu": str(cpus), "memory": mebibytes(memory_mb)}
    mounts = [{"name": "runs", "mountPath": RUNS}]
    if shared_memory:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    variables = [{"name": key, "value": value} for key, value in (environment or {}).items()]
    return {
        "name": name,
        "image": pods.image,
        "args": list(command),
        **({"env": variables} if variables else {}),
        "resources": {"requests": given, "limits": dict(given)},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }


def _share(resources: Resources) -> tuple[int, int]:
    """CPUs and MiB of memory of all ranks of one host."""
    memory_mb = resources.memory_mb_per_rank or DEFAULT_MEMORY_MB_PER_RANK
    ranks = resources.ranks_per_host
    return ranks * resources.cpus_per_rank, ranks * memory_mb


def _shared_memory_mb(resources: Resources) -> int:
    """The most that /dev/shm may take of the memory of a pod, which it counts into."""
    memory_mb, least_mb = _share(resources)[1], 2 * LEAST_SHARED_MEMORY_MB
    if memory_mb < least_mb:
        raise UserError(
            f"A pod with {memory(memory_mb * MIB)} of memory is too small: it needs {memory(least_mb * MIB)}. Give more --mem-per-rank."
        )
    return min(MOST_SHARED_MEMORY_MB, memory_mb // 2)


def _codes(container: str, values: Sequence[int]) -> dict[str, Any]:
    return {"containerName": container, "operator": "In", "values": list(values)}
