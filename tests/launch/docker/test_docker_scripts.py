"""The scripts of docker/ and of the cluster, as far as they come without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import REPOSITORY, run

DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
COMPOSE = REPOSITORY / "docker" / "compose.yaml"
ENTRYPOINT = REPOSITORY / "docker" / "hvd-entrypoint"
CLUSTER = REPOSITORY / "scripts" / "docker-cluster.sh"


def instructions() -> list[str]:
    """The Dockerfile's instructions, each in one line, without comments."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def test_every_package_from_the_network_is_checked_by_hash() -> None:
    installs = [
        part for line in instructions() for part in line.split(";") if re.search(r"\b(uv\"? )?pip\"? install", part)
    ]
    assert installs
    for part in installs:
        assert "--require-hashes" in part or "--no-deps" in part, part
    assert not [line for line in instructions() if line.startswith("ADD ") or re.search(r"\b(curl|wget)\b", line)]


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return document


def test_the_cluster_publishes_nothing_and_is_on_a_network_without_a_way_out() -> None:
    document = compose()
    assert document["networks"] == {"private": {"internal": True, "labels": {"hvd_train.cluster": "yes"}}}
    for name, service in document["services"].items():
        assert service["hostname"] == name
        assert service["networks"] == ["private"]
        assert not {"ports", "expose", "network_mode", "privileged", "cap_add", "user"} & set(service), name
        assert service["cap_drop"] == ["ALL"]


def test_the_hosts_differ_in_name_and_cores_alone() -> None:
    services = compose()["services"]
    assert list(services) == [f"node{number}" for number in range(1, 9)]
    for number, service in enumerate(services.values(), 1):
        assert service.pop("cpuset") == f"${{HVD_CPUS_{number}:-}}"
        service.pop("hostname")
        assert service.pop("profiles", None) == (["more"] if number > 2 else None)
        assert service == services["node1"]


def test_the_example_hostfile_names_hosts_of_the_cluster() -> None:
    names = [line.split()[0] for line in (REPOSITORY / "hostfiles" / "docker").read_text().splitlines()]
    assert set(names) <= set(compose()["services"])
    assert names[0] == "node1"


# --- the entrypoint ---


@pytest.fixture
def cluster_dir(tmp_path: Path) -> Path:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen on this machine")
    directory = tmp_path / "cluster"
    directory.mkdir()
    return directory


def entrypoint(cluster: Path, *arguments: str, ok: bool = True, **env: str) -> str:
    finished = run([ENTRYPOINT, *arguments], timeout_s=30, ok=ok, env={"HVD_CLUSTER": str(cluster), **env})
    return finished.output


def test_keys_are_made_once_for_each_host_and_are_nobody_elses_to_read(cluster_dir: Path) -> None:
    entrypoint(cluster_dir, "keys", "node1", "node2")
    known = (cluster_dir / "known_hosts").read_text().splitlines()
    assert [line.split()[0] for line in known] == ["[node1]:2222", "[node2]:2222"]
    assert known[0].split()[2] != known[1].split()[2]
    for path in cluster_dir.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (cluster_dir / "authorized_keys").read_text() == (cluster_dir / "id_ed25519.pub").read_text()
    before = (cluster_dir / "id_ed25519").read_bytes()
    assert "a new one gets an empty volume" in entrypoint(cluster_dir, "keys", "node1", ok=False)
    assert (cluster_dir / "id_ed25519").read_bytes() == before


def test_a_host_without_a_key_of_its_own_is_refused(cluster_dir: Path) -> None:
    entrypoint(cluster_dir, "keys", "node1", "node2")
    told = entrypoint(cluster_dir, "node", ok=False)
    assert "no host key" in told
    assert "node1 node2" in told


def test_a_worker_of_an_mpijob_without_its_keys_is_refused(tmp_path: Path) -> None:
    """tests/hosts/test_mpijob.py has the others, with users and hosts of their own."""
    finished = run([ENTRYPOINT, "mpijob-worker"], timeout_s=30, ok=False, env={"HVD_KEYS": str(tmp_path)})
    assert f"{tmp_path}/id_rsa cannot be read: the MPIJob needs sshAuthMountPath: {tmp_path}" in finished.stderr


def test_any_other_command_is_run_with_its_exit_code(tmp_path: Path) -> None:
    assert run([ENTRYPOINT, "bash", "-c", "exit 7"], timeout_s=30, ok=False).code == 7


# --- the cluster's script, before it needs an engine ---


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A `docker` that says yes to everything and writes down what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(f'#!/bin/sh\necho "$*" >>"{tmp_path}/asked"\n[ "$1" = info ] && echo 2\nexit 0\n')
    (folder / "docker").chmod(0o755)
    return folder


def cluster(folder: Path | None, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.defpath if folder is None else f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        [str(CLUSTER), *arguments], env={"PATH": path, **env}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"NP": "5", "HOSTS": "2", "SLOTS": "2"}, "NP=5 ranks do not fit into 4 slots (node1:2,node2:2)"),
        ({"NP": "two"}, "NP=two is not a number of ranks"),
        ({"HOSTS": "9"}, "has 1 to 8 hosts"),
        ({"HOSTS": "0"}, "has 1 to 8 hosts"),
        ({"DATA": "songs.csv"}, "give the whole path"),
        ({"DATA": "/no/such/songs.csv"}, "cannot be read"),
        ({"HOSTFILE": "/no/such/file"}, "cannot be read"),
        ({"GPU": "rocm"}, "GPU=rocm: it is cuda (NVIDIA's GPUs) or none"),
        ({"GPU": "cuda", "HOSTS": "2"}, "GPU=cuda HOSTS=2: containers of one machine would share its GPUs"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_built(engine: Path, env: dict[str, str], told: str) -> None:
    done = cluster(engine, "train", **env)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    asked = (engine.parent / "asked").read_text()
    assert "build" not in asked
    assert "up" not in asked.split()


def test_an_image_for_gpus_is_built_under_its_own_name_and_gets_all_gpus(engine: Path) -> None:
    cluster(engine, "up", GPU="cuda", HOSTS="1", NP="1", UP_LIMIT_S="1")
    asked = (engine.parent / "asked").read_text()
    build = next(line for line in asked.splitlines() if line.startswith("build "))
    assert "--build-arg GPU=cuda" in build
    assert "-t hvd-train-cuda ." in build
    assert "compose -f docker/compose.yaml -f docker/compose.gpu.yaml -p hvd-train up -d node1" in asked
    extra = yaml.safe_load(COMPOSE.with_name("compose.gpu.yaml").read_text())["services"]
    assert list(extra) == ["node1"]
    (devices,) = extra["node1"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}, "this is --gpus all"


def test_an_image_for_cpus_gets_no_gpus(engine: Path) -> None:
    cluster(engine, "up", HOSTS="1", NP="1", UP_LIMIT_S="1")
    asked = (engine.parent / "asked").read_text()
    assert "--build-arg GPU=none" in asked
    assert "-t hvd-train ." in asked
    assert "compose.gpu.yaml" not in asked


def test_each_stage_that_installs_or_builds_knows_of_the_gpus() -> None:
    text = "\n".join(instructions())
    stages = {part.split(" AS ", 1)[1].split("\n", 1)[0]: part for part in text.split("\nFROM ")[1:]}
    assert "ARG GPU=none" in stages["locked"]
    assert "ARG GPU=none" in stages["wheel"]
    assert '-m hvd_train.horovod_build --wheel-only --gpu "$GPU"' in stages["wheel"]


@pytest.mark.parametrize(
    ("given", "ranks", "hosts"),
    [([], "4", "2"), (["NP=3"], "3", "2"), (["GPU=cuda"], "1", "1"), (["GPU=cuda", "NP=8"], "8", "1")],
)
def test_a_cluster_has_four_ranks_unless_told_otherwise(given: list[str], ranks: str, hosts: str) -> None:
    command = ["make", "--no-print-directory", "-n", "docker-train", *given]
    unset = {"MAKEFLAGS": None, "NP": None, "HOSTS": None, "GPU": None}
    asked = run(command, timeout_s=20, cwd=REPOSITORY, env=unset).stdout
    gpu = "cuda" if "GPU=cuda" in given else ""
    assert f'NP="{ranks}" HOSTS="{hosts}" GPU="{gpu}" scripts/docker-cluster.sh train' in asked


def test_without_an_engine_the_way_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text("#!/bin/sh\nexit 1\n")
    (folder / "docker").chmod(0o755)
    done = cluster(folder, "train")
    assert done.returncode == 3
    assert done.stderr == (
        "error: no Docker engine answers (docker info). Start it, or ask for the right to use it (group docker).\n"
    )


def test_down_takes_what_killed_scripts_left_and_nothing_that_is_in_use(engine: Path) -> None:
    listed = f"hvd-train-{os.getpid()}-1 hvd-train-999999999-7 hvd-train-test-999999998 mine"
    text = (engine / "docker").read_text().replace("exit 0", f'case "$*" in *Label*) printf "%s\\n" {listed};; esac')
    (engine / "docker").write_text(text + "exit 0\n")
    assert cluster(engine, "down").returncode == 0
    asked = (engine.parent / "asked").read_text()
    taken = set(re.findall(r"com\.docker\.compose\.project=(\S+)", asked))
    assert taken == {"hvd-train", "hvd-train-999999999-7", "hvd-train-test-999999998"}


def test_a_verb_that_is_not_there_gets_the_list() -> None:
    done = cluster(None, "fly")
    assert done.returncode == 2
    assert "image | train | up" in done.stderr
