"""The fields of an MPIJob and of a Job, with their types, and a strict check: what is not listed is an error.

Written down from the custom resource definition of the mpi-operator (manifests/base/kubeflow.org_mpijobs.yaml, version v2beta1,
commit caa3c47 of July 2026, sha256 78b0131f...) and from the API of Kubernetes 1.31. The fields of the MPIJob itself are complete.
Of a pod and of a Job there are those that hvd_train may write. `kubectl create --dry-run=server` asks a real cluster.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?")


@dataclass(frozen=True)
class Need:
    """An object in which some fields may not be missing."""

    required: Collection[str]
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Named:
    """An object with any names, and values of one type."""

    value: Any


# Types: a class, a tuple of words, a list of one type, an object as a dict, "quantity".
LABELS = Named(str)
METADATA = Need(["name"], {"name": str, "namespace": str, "labels": LABELS, "annotations": LABELS})
RESOURCES = {"requests": Named("quantity"), "limits": Named("quantity")}
SECCOMP = Need(["type"], {"type": ("RuntimeDefault", "Unconfined", "Localhost"), "localhostProfile": str})
CONTAINER = Need(
    ["name"],
    {
        "name": str,
        "image": str,
        "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
        "command": [str],
        "args": [str],
        "workingDir": str,
        "env": [Need(["name"], {"name": str, "value": str})],
        "resources": RESOURCES,
        "readinessProbe": {
            "tcpSocket": Need(["port"], {"port": int, "host": str}),
            "periodSeconds": int,
            "timeoutSeconds": int,
            "initialDelaySeconds": int,
            "failureThreshold": int,
            "successThreshold": int,
        },
        "securityContext": {
            "allowPrivilegeEscalation": bool,
            "capabilities": {"add": [str], "drop": [str]},
            "privileged": bool,
            "readOnlyRootFilesystem": bool,
            "runAsUser": int,
            "runAsGroup": int,
            "runAsNonRoot": bool,
            "seccompProfile": SECCOMP,
        },
        "volumeMounts": [
            Need(["name", "mountPath"], {"name": str, "mountPath": str, "subPath": str, "readOnly": bool})
        ],
    },
)
POD = Need(
    ["containers"],
    {
        "automountServiceAccountToken": bool,
        "containers": [CONTAINER],
        "enableServiceLinks": bool,
        "nodeSelector": LABELS,
        "priorityClassName": str,
        "restartPolicy": ("Always", "OnFailure", "Never"),
        "securityContext": {
            "fsGroup": int,
            "fsGroupChangePolicy": ("OnRootMismatch", "Always"),
            "runAsUser": int,
            "runAsGroup": int,
            "runAsNonRoot": bool,
            "seccompProfile": SECCOMP,
            "supplementalGroups": [int],
        },
        "serviceAccountName": str,
        "terminationGracePeriodSeconds": int,
        "volumes": [
            Need(
                ["name"],
                {
                    "name": str,
                    "emptyDir": {"medium": ("", "Memory"), "sizeLimit": "quantity"},
                    "persistentVolumeClaim": Need(["claimName"], {"claimName": str, "readOnly": bool}),
                },
            )
        ],
    },
)
TEMPLATE = {"metadata": {"labels": LABELS, "annotations": LABELS}, "spec": POD}
# The definition takes any word as restartPolicy; the operator refuses all but these two.
REPLICAS = Need(
    ["replicas", "template"], {"replicas": int, "restartPolicy": ("Never", "OnFailure"), "template": TEMPLATE}
)
MPIJOB = Need(
    ["apiVersion", "kind", "metadata", "spec"],
    {
        "apiVersion": ("kubeflow.org/v2beta1",),
        "kind": ("MPIJob",),
        "metadata": METADATA,
        "spec": Need(
            ["mpiReplicaSpecs"],
            {
                "launcherCreationPolicy": ("AtStartup", "WaitForWorkersReady"),
                "mpiImplementation": ("OpenMPI", "Intel", "MPICH"),
                "mpiReplicaSpecs": Need(["Launcher", "Worker"], {"Launcher": REPLICAS, "Worker": REPLICAS}),
                "runLauncherAsWorker": bool,
                "runPolicy": {
                    "activeDeadlineSeconds": int,
                    "backoffLimit": int,
                    "cleanPodPolicy": ("None", "Running", "All"),
                    "managedBy": str,
                    "schedulingPolicy": {
                        "minAvailable": int,
                        "minResources": Named("quantity"),
                        "priorityClass": str,
                        "queue": str,
                        "scheduleTimeoutSeconds": int,
                    },
                    "suspend": bool,
                    "ttlSecondsAfterFinished": int,
                },
                "slotsPerWorker": int,
                "sshAuthMountPath": str,
            },
        ),
    },
)
JOB = Need(
    ["apiVersion", "kind", "metadata", "spec"],
    {
        "apiVersion": ("batch/v1",),
        "kind": ("Job",),
        "metadata": METADATA,
        "spec": Need(
            ["template"],
            {
                "activeDeadlineSeconds": int,
                "backoffLimit": int,
                "completionMode": ("NonIndexed", "Indexed"),
                "completions": int,
                "parallelism": int,
                "podFailurePolicy": Need(
                    ["rules"],
                    {
                        "rules": [
                            Need(
                                ["action"],
                                {
                                    "action": ("FailJob", "FailIndex", "Ignore", "Count"),
                                    "onExitCodes": Need(
                                        ["operator", "values"],
                                        {"containerName": str, "operator": ("In", "NotIn"), "values": [int]},
                                    ),
                                    "onPodConditions": [Need(["type", "status"], {"type": str, "status": str})],
                                },
                            )
                        ]
                    },
                ),
                "suspend": bool,
                "template": TEMPLATE,
                "ttlSecondsAfterFinished": int,
            },
        ),
    },
)


def problems(value: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """What is wrong, with the path of the field."""
    if isinstance(wanted, Need):
        for name in wanted.required:
            if not isinstance(value, dict) or name not in value:
                yield f"{_below(path, name)} is missing"
        yield from problems(value, wanted.fields, path)
    elif isinstance(wanted, (Mapping, Named)):
        if not isinstance(value, dict):
            yield f"{path} is no object: {value!r}"
            return
        for name, item in value.items():
            if isinstance(wanted, Named):
                yield from problems(item, wanted.value, _below(path, name))
            elif name not in wanted:
                yield f"{_below(path, name)} is unknown"
            else:
                yield from problems(item, wanted[name], _below(path, name))
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            yield f"{path} is no list: {value!r}"
            return
        for number, item in enumerate(value):
            yield from problems(item, wanted[0], f"{path}[{number}]")
    elif isinstance(wanted, tuple):
        if value not in wanted:
            yield f"{path} is none of {', '.join(wanted)}: {value!r}"
    elif wanted == "quantity":
        if type(value) is not int and not (isinstance(value, str) and QUANTITY.fullmatch(value)):
            yield f"{path} is no quantity: {value!r}"
    elif type(value) is not wanted:
        yield f"{path} is no {wanted.__name__}: {value!r}"


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
