"""hvd-train submit --on kubernetes, through the command line: the manifest, what is refused, and what kubectl is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hvd_train.cli import main
from hvd_train.cluster.submit.spec import JobSpec
from hvd_train.cluster.submit.volume import VOLUME
from hvd_train.schedulers.manifests import RUNS

KUBERNETES = ("--on", "kubernetes", "--image", "registry.example/hvd-train:1.0", "--pvc", "runs")
TWO_HOSTS = ("--nodes", "2", "--ranks-per-node", "2", "--name", "songs")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home without site.toml, and a PATH with nothing but a kubectl that keeps what it got."""
    for name in ("work", "programs"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path


def kubectl(place: Path, answer: str, code: int = 0) -> None:
    program = place / "programs" / "kubectl"
    told = f'echo "{answer}"' if code == 0 else f'echo "{answer}" >&2'
    program.write_text(
        f'#!/bin/bash\nPATH=/usr/bin:/bin\necho "$*" >{place}/called\ncat >{place}/got\n{told}\nexit {code}\n'
    )
    program.chmod(0o755)


def test_what_a_dry_run_prints_is_submitted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*KUBERNETES, *TWO_HOSTS, "--namespace", "team", "--", "train", "--data", "/runs/songs.csv", "--seed", "3"]
    assert main(["submit", "--dry-run", *given]) == 0  # without kubectl
    printed = capsys.readouterr().out
    assert list(Path().iterdir()) == []
    kubectl(place, "mpijob.kubeflow.org/songs created")
    assert main(["submit", *given]) == 0
    assert printed.startswith(f"{(place / 'got').read_text()}\n# kubectl create -f - < ")
    assert (place / "called").read_text() == "create -f -\n"
    document = yaml.safe_load(printed)
    launcher = document["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    assert launcher["args"] == [
        *("hvd-train", "supervise", "--np", "4", "--warn", "120", "--max-restarts", "3", "--max-requeues", "20"),
        *("--", "train", "--data", "/runs/songs.csv", "--seed", "3", "--run-dir", "/runs/songs"),
    ]
    out = capsys.readouterr().out
    assert "was submitted as job mpijob_songs_team.\nrun     /runs/songs\nlog     is kept by Kubernetes\n" in out
    job = Path("runs") / "songs" / "job"
    assert (job / "id").read_text() == "mpijob_songs_team\n"
    assert not (job / "logs").exists()
    assert JobSpec.load(job / "job.toml").pods is not None


def test_a_job_of_one_host_needs_no_operator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--dry-run", *KUBERNETES, "--", "train"]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    assert (document["kind"], document["metadata"]["name"]) == ("Job", "default")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--", "train", "--data", "songs.csv"], "--data songs.csv: on Kubernetes this is a path in the pods"),
        (["--", "train", "--run-dir", "/tmp/x"], "--run-dir /tmp/x: on Kubernetes runs are in the volume of --pvc"),
        (["--", "train", "--run-dir", "runs/../x"], "Give --run-dir runs/NAME"),
        (["--", "tune"], "On Kubernetes a job runs train, not tune"),
        (["--setup", "module load gcc", "--", "train"], "--setup is for job scripts"),
        (["--launcher", "horovodrun", "--", "train"], "on Kubernetes the ranks are started by mpirun alone"),
        (["--account", "physics", "--", "train"], "Jobs on Kubernetes have no --account"),
        (["--name", "2songs", "--", "train"], "must begin with a letter"),
        (["--ranks-per-node", "3", "--", "train"], "3 ranks cannot share 64 virtual shards equally"),
        (["--namespace", "my_team", "--", "train"], "--namespace 'my_team' is not in the form of Kubernetes"),
        (["--pvc", "Runs", "--", "train"], "--pvc 'Runs' is not in the form of Kubernetes"),
        (["--image", "a b", "--", "train"], "--image 'a b' is not in the form of Kubernetes"),
        (["--mem-per-rank", "300M", "--", "train"], "A pod with 300.0 MiB of memory is too small: it needs 512.0 MiB"),
        (["--image", "", "--", "train"], "needs --image"),
        (["--pvc", "", "--", "train"], "needs --pvc"),
    ],
)
def test_what_could_not_run_is_refused_before(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", *KUBERNETES, *argv]) == 2
    assert told in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_what_kubectl_says_is_passed_on_and_nothing_is_left(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl(place, "Error from server (AlreadyExists): mpijobs.kubeflow.org songs already exists", 1)
    assert main(["submit", *KUBERNETES, *TWO_HOSTS, "--", "train"]) == 2
    told = capsys.readouterr().err
    assert "kubectl refused (exit code 1) and printed: Error from server (AlreadyExists)" in told
    assert list(Path().iterdir()) == []


def test_without_kubectl_the_way_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", *KUBERNETES, "--", "train"]) == 3
    told = capsys.readouterr().err
    assert "kubectl cannot be started" in told
    assert "--dry-run prints the manifest" in told


def test_a_run_directory_is_named_in_the_volume(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(VOLUME) == RUNS
    for given, used in (("runs/a/b", "/runs/a/b"), ("/runs/c", "/runs/c"), ("runs/{job}", "/runs/job_default")):
        assert main(["submit", "--dry-run", *KUBERNETES, "--", "train", "--run-dir", given]) == 0
        document = yaml.safe_load(capsys.readouterr().out)
        assert document["spec"]["template"]["spec"]["containers"][0]["args"][-1] == used
