"""What the Docker files promise, read from the files: no engine is needed."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from processes import BIN, REPOSITORY, mpi_settings, run

DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
COMPOSE = REPOSITORY / "docker" / "compose.yaml"
ENTRYPOINT = REPOSITORY / "docker" / "hvd-entrypoint"
CLUSTER = REPOSITORY / "scripts" / "docker-cluster.sh"


def instructions() -> list[str]:
    """The Dockerfile's instructions, each in one line, without comments."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def last_stage() -> list[str]:
    lines = instructions()
    return lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]


def test_the_classic_builder_can_read_the_dockerfile() -> None:
    assert "# syntax" not in DOCKERFILE.read_text()
    for line in instructions():
        assert not re.match(r"(RUN|COPY|ADD) --(mount|link|chmod|network|checksum)", line), line
        assert "<<" not in line, line


def test_every_package_from_the_network_is_checked_by_hash() -> None:
    installs = [
        part for line in instructions() for part in line.split(";") if re.search(r"\b(uv\"? )?pip\"? install", part)
    ]
    assert installs
    for part in installs:
        assert "--require-hashes" in part or "--no-deps" in part, part
    assert not [line for line in instructions() if line.startswith("ADD ") or re.search(r"\b(curl|wget)\b", line)]


def test_the_last_stage_has_a_base_to_choose_a_user_a_health_check_labels_and_no_compiler() -> None:
    lines = last_stage()
    assert lines[0] == "FROM ${BASE_IMAGE} AS runtime"
    assert [line for line in lines if line.startswith("USER ")] == ["USER hvd"]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert any("image.version" in line and "image.revision" in line for line in lines)
    assert not re.search(r"g\+\+|gcc|build-essential|cmake", "\n".join(lines))
    assert lines[-3].startswith("ARG VERSION"), "what differs from commit to commit comes last"


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


def test_compose_reads_the_one_file_with_open_mpis_settings() -> None:
    path = COMPOSE.parent / compose()["services"]["node1"]["env_file"]
    assert path.resolve() == REPOSITORY / "scripts" / "mpi.env"
    assert mpi_settings(path)


def test_the_example_hostfile_names_hosts_of_the_cluster() -> None:
    names = [line.split()[0] for line in (REPOSITORY / "hostfiles" / "docker").read_text().splitlines()]
    assert set(names) <= set(compose()["services"])
    assert names[0] == "node1"


def test_no_key_is_in_what_the_image_is_built_from() -> None:
    for folder in ("docker", "scripts", "hostfiles", "requirements", "hvd_train"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert b"PRIVATE KEY" not in path.read_bytes()[:4096], path


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


def test_any_other_command_is_run_with_its_exit_code(tmp_path: Path) -> None:
    assert run([ENTRYPOINT, "bash", "-c", "exit 7"], timeout_s=30, ok=False).code == 7


# --- the job ---


@pytest.fixture(scope="module")
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_job", REPOSITORY / "docker" / "job.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hosts_and_slots_are_read(job: ModuleType) -> None:
    assert job.parse_hosts("node1:2,node2:1") == {"node1": 2, "node2": 1}


@pytest.mark.parametrize("text", ["node1", "node1:0", "node1:x", ":2", "node1:1,node1:1", ""])
def test_wrong_hosts_are_refused(job: ModuleType, text: str) -> None:
    with pytest.raises(job.CannotStart):
        job.parse_hosts(text)


def test_more_ranks_than_slots_and_an_unknown_host_are_refused_before_anything_starts(job: ModuleType) -> None:
    with pytest.raises(job.CannotStart, match="3 ranks do not fit into 2 slots"):
        job.check(3, {"localhost": 2})
    with pytest.raises(job.CannotStart, match="host no-such-host.invalid has no address"):
        job.check(1, {"no-such-host.invalid": 1})


def test_output_is_handed_on_in_whole_lines_without_chatter_and_tags(job: ModuleType) -> None:
    out = io.StringIO()
    relay = job.Relay(out)
    relay.pass_on(b"[1,0]<stdout>:epoch 1\nI0000 port.cc:1] oneDNN is on\n[1,3]<stderr>:err")
    assert out.getvalue() == "epoch 1\n"
    relay.pass_on(b"or\nlast")
    assert out.getvalue() == "epoch 1\n[rank 3] error\n"
    relay.pass_on(b"")
    assert out.getvalue().endswith("\nlast\n")


def test_all_output_comes_and_the_exit_code_is_the_commands(job: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    started = job.Job(["bash", "-c", "for i in $(seq 5000); do echo line $i; done; echo oh >&2; exit 7"])
    assert job.supervise(started) == 7
    started.close()
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"line {i}" for i in range(1, 5001)]
    assert err == "oh\n"


def test_a_job_that_is_told_to_stop_and_does_not_is_ended(job: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "STOP_S", 0.5)
    ignoring = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    started = job.Job([sys.executable, "-c", ignoring])
    try:
        started.stop(2)
        assert job.supervise(started) == 4 or started.process.returncode  # before or after it ignores the signal
    finally:
        started.kill()
        started.close()
    assert started.process.poll() is not None


def test_ctrl_c_reaches_mpirun_itself(job: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    """horovodrun, which stands between, gives it a session of its own and kills it before the ranks can save."""
    saves = "trap 'echo saved; exit 0' TERM; echo here; while :; do sleep 0.1; done"
    started = job.Job(["bash", "-c", f'setsid --wait {BIN}/mpirun -np 1 --bind-to none bash -c "$0"; exit $?', saves])
    try:
        assert started.process.stdout is not None
        assert started.process.stdout.readline() == b"here\n"
        started.stop(signal.SIGINT)
        assert job.supervise(started) != 0
    finally:
        started.kill()
        started.close()
    assert "saved" in capfd.readouterr().out


def test_ranks_that_ended_under_an_mpirun_that_waits_are_the_end_of_the_job(
    job: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "LOST_S", 0.5)
    script = "OMPI_COMM_WORLD_RANK=0 sleep 2; exec sleep 60"
    started = job.Job(["bash", "-c", script])
    try:
        assert job.supervise(started) == 4
    finally:
        started.kill()
        started.close()
    assert "a host of the job does not answer any more" in capfd.readouterr().err


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


@pytest.mark.parametrize(("given", "ranks"), [([], "4"), (["NP=3"], "3")])
def test_a_cluster_has_four_ranks_unless_told_otherwise(given: list[str], ranks: str) -> None:
    command = ["make", "--no-print-directory", "-n", "docker-train", *given]
    unset = {"MAKEFLAGS": None, "NP": None, "HOSTS": None}
    asked = run(command, timeout_s=20, cwd=REPOSITORY, env=unset).stdout
    assert f'NP="{ranks}" HOSTS="2" scripts/docker-cluster.sh train' in asked


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
