"""hvd-train jobs for a job on Kubernetes: what it asks kubectl, and what it makes of the answers. The run's files are in pods."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from hvd_train.cli import main
from hvd_train.cluster.jobs import cancelling

JOB = "mpijob_songs"
SUBMIT = (
    "submit",
    "--on",
    "kubernetes",
    "--image",
    "registry.example/hvd-train:1.0",
    "--pvc",
    "runs",
    "--name",
    "songs",
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the job as `kubectl get` prints it, and with what kubectl was called with. The job was submitted."""
    for name in ("work", "programs"):
        (tmp_path / name).mkdir()
    program = tmp_path / "programs" / "kubectl"
    program.write_text(
        f"""#!/bin/bash
        PATH=/usr/bin:/bin
        echo "$*" >>{tmp_path}/calls
        case $1 in
        create) cat >/dev/null; [ ! -s {tmp_path}/object ] || {{ echo "AlreadyExists" >&2; exit 1; }}
            echo '{{"kind": "MPIJob", "metadata": {{}}}}' >{tmp_path}/object; echo "mpijob.kubeflow.org/songs created" ;;
        get) cat {tmp_path}/object ;;
        delete) : >{tmp_path}/object ;;
        logs) echo "epoch 1" ;;
        esac
        """
    )
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:/usr/bin:/bin")
    monkeypatch.setattr(cancelling, "POLL_S", 0.01)
    assert main([*SUBMIT, "--nodes", "2", "--", "train"]) == 0
    (tmp_path / "calls").unlink()
    return tmp_path


def becomes(cluster: Path, *conditions: str, **status: Any) -> None:
    """The object of the job from now on."""
    listed = [{"type": name, "status": "True", "message": f"it is {name}"} for name in conditions]
    document = {"kind": "MPIJob", "metadata": {"name": "songs"}, "status": {"conditions": listed, **status}}
    (cluster / "object").write_text(json.dumps(document))


def calls(cluster: Path) -> list[str]:
    return (cluster / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("conditions", "status", "shown"),
    [
        (["Created"], {}, "pending"),
        (["Created", "Running"], {}, "running"),
        (["Created", "Succeeded"], {"completionTime": "x"}, "complete"),
        (["Created", "Failed"], {"completionTime": "x"}, "failed: it is Failed"),
    ],
)
def test_the_status_is_that_of_the_object(
    conditions: list[str], status: dict[str, Any], shown: str, cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    becomes(cluster, *conditions, **status)
    capsys.readouterr()
    assert main(["jobs", "status", JOB]) == 0
    assert shown in capsys.readouterr().out
    assert calls(cluster) == ["get mpijobs.kubeflow.org/songs --ignore-not-found --output=json"]
    assert main(["jobs", "list"]) == 0


def test_an_object_that_was_deleted_is_lost(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cluster / "object").write_text("")
    assert main(["jobs", "status", "songs"]) == 0
    assert "lost" in capsys.readouterr().out


def test_the_log_is_what_kubectl_prints(cluster: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["jobs", "logs", JOB, "-f"]) == 0
    assert capfd.readouterr().out == "epoch 1\n"
    assert calls(cluster) == ["logs job/songs-launcher --follow"]


def test_cancel_deletes_it_which_gives_time_for_a_checkpoint(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    becomes(cluster, "Running")
    began = time.monotonic()
    assert main(["jobs", "cancel", JOB]) == 0
    assert "delete mpijobs.kubeflow.org/songs --wait=false" in calls(cluster)
    assert not [call for call in calls(cluster) if call.startswith("exec")]
    assert time.monotonic() - began < 10
    capsys.readouterr()
    assert main(["jobs", "status", JOB]) == 0
    assert "cancelled" in capsys.readouterr().out


def test_resume_makes_room_for_the_same_name(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    becomes(cluster, "Failed", completionTime="x")
    capsys.readouterr()
    assert main(["jobs", "resume", JOB]) == 0
    assert f"submitted again as job {JOB}; hvd-train jobs logs {JOB} prints its log" in capsys.readouterr().out
    assert calls(cluster)[-2:] == [
        "delete mpijobs.kubeflow.org/songs --ignore-not-found --cascade=foreground",
        "create -f -",
    ]


@pytest.mark.parametrize("conditions", [["Running"], ["Succeeded"]])
def test_a_job_that_runs_or_is_complete_is_not_submitted_again(
    conditions: list[str], cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    becomes(cluster, *conditions, **({} if conditions == ["Running"] else {"completionTime": "x"}))
    assert main(["jobs", "resume", JOB]) == 2
    assert "There is nothing to resume" in capsys.readouterr().err
    assert "create -f -" not in calls(cluster)
