"""Kubernetes: the job of a pod, kubectl's commands and answers. Answers are written from the operator's sources, none was recorded."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from hvd_train.errors import UserError
from hvd_train.hostfiles.hostfile import Host
from hvd_train.schedulers.job import Job, Resources
from hvd_train.schedulers.kubernetes import Kubernetes
from hvd_train.schedulers.manifests import Pods
from hvd_train.schedulers.table import detect_job, detect_scheduler

KUBERNETES = Kubernetes()


def test_a_pod_knows_its_job() -> None:
    assert detect_job({"HVD_KUBERNETES_JOB": "mpijob_songs_team"}) == Job("Kubernetes", "mpijob_songs_team")
    assert detect_job({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None  # a pod of something else


def test_the_hosts_of_an_mpijob_are_those_of_the_operators_file(tmp_path: Path) -> None:
    hostfile = tmp_path / "hostfile"
    hostfile.write_text("songs-worker-0.songs.team.svc slots=2\nsongs-worker-1.songs.team.svc slots=2\n")
    hosts = KUBERNETES.hosts({"OMPI_MCA_orte_default_hostfile": str(hostfile)})
    assert hosts == (Host("songs-worker-0.songs.team.svc", 2), Host("songs-worker-1.songs.team.svc", 2))


def test_the_host_of_a_job_of_one_pod_is_the_pod() -> None:
    assert KUBERNETES.hosts({"HVD_KUBERNETES_SLOTS": "4"}) == (Host(socket.gethostname(), 4),)


def test_elsewhere_there_are_no_hosts() -> None:
    with pytest.raises(UserError, match="Neither OMPI_MCA_orte_default_hostfile nor HVD_KUBERNETES_SLOTS is set"):
        KUBERNETES.hosts({})


@pytest.mark.parametrize(
    ("output", "job_id"),
    [("mpijob.kubeflow.org/songs created\n", "mpijob_songs"), ("Warning: x\njob.batch/songs created\n", "job_songs")],
)
def test_the_id_from_what_kubectl_prints(output: str, job_id: str) -> None:
    assert KUBERNETES.submitted_id(output) == job_id


@pytest.mark.parametrize("output", ["", "hello", "mpijob.kubeflow.org/songs unchanged"])
def test_no_id_in_something_else(output: str) -> None:
    with pytest.raises(UserError, match="kubectl printed no created job, but"):
        KUBERNETES.submitted_id(output)


def test_the_id_is_known_before() -> None:
    resources = Resources(name="Songs", num_hosts=2, ranks_per_host=2, time_limit_s=60)
    pods = Pods(image="image", pvc="runs", namespace="team")
    assert KUBERNETES.id_of(resources, pods) == "mpijob_songs_team"
    assert KUBERNETES.id_of(dataclasses.replace(resources, num_hosts=1), pods) == "job_songs_team"
    assert KUBERNETES.manifest(resources, pods, ["true"], {}).startswith(
        "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\n"
    )


def test_commands() -> None:
    assert KUBERNETES.submit_command("ignored") == ["kubectl", "create", "-f", "-"]
    mpijob, job = "mpijob_songs_team", "job_songs"
    assert KUBERNETES.status_command(mpijob) == [
        *("kubectl", "get", "mpijobs.kubeflow.org/songs", "--namespace=team"),
        *("--ignore-not-found", "--output=json"),
    ]
    assert KUBERNETES.cancel_command(job) == ["kubectl", "delete", "jobs.batch/songs", "--wait=false"]
    assert KUBERNETES.log_command(mpijob) == ["kubectl", "logs", "job/songs-launcher", "--namespace=team"]
    assert KUBERNETES.log_command(job, follow=True) == ["kubectl", "logs", "job/songs", "--follow"]
    assert KUBERNETES.warn_command(job) is None  # cancelling is gentle enough
    assert KUBERNETES.forget_command(job) == [
        *("kubectl", "delete", "jobs.batch/songs", "--ignore-not-found", "--cascade=foreground")
    ]


@pytest.mark.parametrize("job_id", ["123", "songs", "pod_songs", "job_"])
def test_an_id_of_another_scheduler_is_refused(job_id: str) -> None:
    with pytest.raises(UserError, match="is no job on Kubernetes"):
        KUBERNETES.status_command(job_id)


def answer(kind: str, *conditions: tuple[str, str], deleted: bool = False, **status: Any) -> str:
    listed = [{"type": name, "status": value, "message": f"it is {name}"} for name, value in conditions]
    metadata = {"name": "songs", **({"deletionTimestamp": "2026-11-28T03:00:00Z"} if deleted else {})}
    return json.dumps({"kind": kind, "metadata": metadata, "status": {"conditions": listed, **status}})


CREATED, RUNNING = ("Created", "True"), ("Running", "True")


@pytest.mark.parametrize(
    ("output", "state"),
    [
        ("", "gone"),
        (json.dumps({"kind": "MPIJob", "metadata": {"name": "songs"}}), "pending"),
        (answer("MPIJob", CREATED), "pending"),
        (answer("MPIJob", CREATED, RUNNING), "running"),
        (answer("MPIJob", CREATED, ("Suspended", "True"), ("Running", "False")), "pending"),
        (answer("MPIJob", CREATED, ("Running", "False"), ("Succeeded", "True"), completionTime="x"), "gone"),
        (answer("MPIJob", CREATED, ("Running", "False"), ("Failed", "True"), completionTime="x"), "gone"),
        # A worker was evicted, and the launcher goes on without it.
        (answer("MPIJob", CREATED, RUNNING, ("Failed", "True")), "running"),
        (answer("MPIJob", CREATED, RUNNING, deleted=True), "ending"),
        (answer("Job"), "pending"),
        (answer("Job", active=1, ready=0), "pending"),
        (answer("Job", active=1, ready=1), "running"),
        (answer("Job", ("FailureTarget", "True"), active=1, ready=1), "ending"),
        (answer("Job", ("Complete", "True"), succeeded=1, completionTime="x"), "gone"),
        (answer("Job", ("Failed", "True"), failed=4), "gone"),
    ],
)
def test_the_state(output: str, state: str) -> None:
    assert KUBERNETES.state(output, "mpijob_songs") == state


@pytest.mark.parametrize(
    ("output", "verdict"),
    [
        ("", None),
        (answer("MPIJob", CREATED, ("Succeeded", "True"), completionTime="x"), "complete"),
        # An evicted worker, and an end on the others.
        (answer("MPIJob", ("Failed", "True"), ("Succeeded", "True"), completionTime="x"), "complete"),
        (answer("MPIJob", CREATED, ("Failed", "True"), completionTime="x"), "failed"),
        (answer("Job", ("Complete", "True"), succeeded=1), "complete"),
        (answer("Job", ("Failed", "True"), failed=4), "failed"),
    ],
)
def test_the_end_that_kubernetes_remembers(output: str, verdict: str | None) -> None:
    assert KUBERNETES.verdict(output, "mpijob_songs") == verdict


def test_the_reason_is_the_last_condition_that_holds() -> None:
    suspended = answer("MPIJob", CREATED, ("Suspended", "True"), ("Running", "False"))
    assert KUBERNETES.reason(suspended, "mpijob_songs") == "it is Suspended"
    assert KUBERNETES.reason("", "mpijob_songs") == ""


def test_other_answers_are_shown() -> None:
    with pytest.raises(UserError, match="kubectl printed no job, but: error: x"):
        KUBERNETES.state("error: x", "mpijob_songs")


def test_kubectl_alone_makes_no_cluster_of_a_machine() -> None:
    paths = {"kubectl": "/usr/bin/kubectl", "sbatch": "/opt/bin/sbatch", "squeue": "/opt/bin/squeue"}
    assert detect_scheduler({}, paths.get).flag == "slurm"
    with pytest.raises(UserError, match="No batch scheduler was found"):
        detect_scheduler({}, {"kubectl": "/usr/bin/kubectl"}.get)
