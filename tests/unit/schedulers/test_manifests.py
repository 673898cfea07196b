"""Manifests for Kubernetes: whole ones, their fields against a strict list, and what is refused.

To write the whole ones anew: PYTHONPATH=tests/unit/schedulers python tests/unit/schedulers/test_manifests.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifest_fields import JOB, MPIJOB, problems

from hvd_train.errors import UserError
from hvd_train.schedulers.job import Resources
from hvd_train.schedulers.manifests import KEYS, RUNS, SSH_PORT, Pods, job_name, manifest, to_yaml

REPOSITORY = Path(__file__).resolve().parents[3]
TWO_HOSTS = Resources(name="songs", num_hosts=2, ranks_per_host=4, time_limit_s=7200)
ONE_HOST = dataclasses.replace(TWO_HOSTS, num_hosts=1)
EVERYTHING = Resources(
    name="Songs_2.big",
    num_hosts=3,
    ranks_per_host=2,
    cpus_per_rank=3,
    memory_mb_per_rank=1500,
    time_limit_s=86400,
    warning_s=300,
    queue="night",
)
PODS = Pods(image="registry.example/hvd-train:1.0", pvc="runs")
COMMAND = [
    "hvd-train",
    "supervise",
    "--np",
    "8",
    "--",
    "train",
    "--data",
    "/runs/songs.csv",
    "--run-dir",
    "/runs/songs",
]
WHOLE = {
    "mpijob": (TWO_HOSTS, PODS),
    "job": (ONE_HOST, PODS),
    "mpijob-everything": (EVERYTHING, dataclasses.replace(PODS, namespace="team", max_restarts=0)),
}


def golden(name: str) -> Path:
    return Path(__file__).parent / "manifests" / f"{name}.yaml"


def made(name: str) -> dict[str, Any]:
    return manifest(*WHOLE[name], COMMAND, {"OMPI_MCA_btl_vader_single_copy_mechanism": "none"})


def fields(document: dict[str, Any]) -> Any:
    return MPIJOB if document["kind"] == "MPIJob" else JOB


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_manifest(name: str) -> None:
    assert to_yaml(made(name)) == golden(name).read_text()


@pytest.mark.parametrize("name", WHOLE)
def test_it_has_known_fields_alone_and_is_read_back_from_yaml(name: str) -> None:
    document = yaml.safe_load(golden(name).read_text())
    assert document == made(name)
    assert list(problems(document, fields(document))) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "told"),
    [
        ("spec", "slotsPerWorker", "slotPerWorker", "spec.slotPerWorker is unknown"),
        ("spec.runPolicy", "backoffLimit", "backoffLimt", "spec.runPolicy.backoffLimt is unknown"),
        ("spec.mpiReplicaSpecs", "Worker", "Workers", "spec.mpiReplicaSpecs.Workers is unknown"),
    ],
)
def test_the_list_of_fields_names_a_misspelt_one(path: str, old: str, new: str, told: str) -> None:
    document = made("mpijob")
    parent = document
    for name in path.split("."):
        parent = parent[name]
    parent[new] = parent.pop(old)
    assert told in list(problems(document, MPIJOB))


def test_the_list_of_fields_names_a_wrong_type_and_a_missing_field() -> None:
    document = made("mpijob")
    worker = document["spec"]["mpiReplicaSpecs"]["Worker"]
    worker["replicas"], worker["restartPolicy"] = "2", "ExitCode"
    del worker["template"]["spec"]["containers"][0]["name"]
    assert list(problems(document, MPIJOB)) == [
        "spec.mpiReplicaSpecs.Worker.replicas is no int: '2'",
        "spec.mpiReplicaSpecs.Worker.restartPolicy is none of Never, OnFailure: 'ExitCode'",
        "spec.mpiReplicaSpecs.Worker.template.spec.containers[0].name is missing",
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_the_rules_beyond_the_schema(name: str) -> None:
    """Those of the operator's validation.go, and of Kubernetes for the failure policy of a Job."""
    document = made(name)
    spec = document["spec"]
    if document["kind"] == "MPIJob":
        assert spec["mpiReplicaSpecs"]["Launcher"]["replicas"] == 1
        assert spec["mpiReplicaSpecs"]["Worker"]["replicas"] >= 2
        assert spec["runPolicy"]["backoffLimit"] >= 0
        templates = [replica["template"] for replica in spec["mpiReplicaSpecs"].values()]
    else:
        templates = [spec["template"]]
        assert templates[0]["spec"]["restartPolicy"] == "Never"
        named = [rule["onExitCodes"]["containerName"] for rule in spec["podFailurePolicy"]["rules"][:2]]
        assert named == [templates[0]["spec"]["containers"][0]["name"]] * 2
    for template in templates:
        pod = template["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("name", WHOLE)
def test_pods_keep_the_restricted_security_standard(name: str) -> None:
    document = made(name)
    replicas = document["spec"].get("mpiReplicaSpecs", {"": document["spec"]})
    for replica in replicas.values():
        pod = replica["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_image_expects_the_keys_and_the_port_of_the_manifest() -> None:
    for name in ("hvd-entrypoint", "ssh"):
        text = (REPOSITORY / "docker" / name).read_text()
        assert f"${{HVD_KEYS:-{KEYS}}}" in text
        assert str(SSH_PORT) in text
    assert "--uid 1000" in (REPOSITORY / "docker" / "Dockerfile").read_text()
    assert RUNS == "/runs"


@pytest.mark.parametrize(
    ("given", "name"), [("songs", "songs"), ("Songs_2.big", "songs-2-big"), ("a" * 54, "a" * 54), ("-x_", "x")]
)
def test_a_name_is_written_as_kubernetes_takes_it(given: str, name: str) -> None:
    assert job_name(dataclasses.replace(TWO_HOSTS, name=given)) == name


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        (dataclasses.replace(TWO_HOSTS, name="2songs"), "must begin with a letter"),
        (
            dataclasses.replace(ONE_HOST, name="lied-für"),
            "must begin with a letter, and have letters, digits and - alone",
        ),
        (dataclasses.replace(TWO_HOSTS, name="a" * 55), "its pod a{55}-worker-1 has 64 characters, and at most 63"),
        (dataclasses.replace(TWO_HOSTS, num_hosts=11, name="a" * 54), "-worker-10 has 64 characters"),
        (dataclasses.replace(TWO_HOSTS, account="physics", mail="a@b"), "have no --account, --mail"),
        (dataclasses.replace(TWO_HOSTS, num_tasks=4), "have no --array"),
        (dataclasses.replace(TWO_HOSTS, extra_directives=("x",)), "have no --directive"),
    ],
)
def test_what_kubernetes_would_refuse_is_told_before(resources: Resources, told: str) -> None:
    with pytest.raises(UserError, match=told):
        manifest(resources, PODS, COMMAND, {})


@pytest.mark.parametrize("flag", ["image", "pvc"])
def test_an_image_and_a_volume_are_needed(flag: str) -> None:
    with pytest.raises(UserError, match=f"needs --{flag}"):
        manifest(TWO_HOSTS, dataclasses.replace(PODS, **{flag: ""}), COMMAND, {})


if __name__ == "__main__":
    for each in WHOLE:
        golden(each).parent.mkdir(exist_ok=True)
        golden(each).write_text(to_yaml(made(each)))
