"""`--resume auto --run-dir RUN`: one command that begins a run, goes on with it, and leaves a complete one alone."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path

import pytest
from processes import mpirun, run, started

from hvd_train.cli.verbs import main

TINY = ["--recipe", "debug", "--num-songs", "1000"]


def test_without_a_run_directory_it_is_refused_with_the_way_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "--resume", "auto"]) == 2
    assert "no --run-dir was given. Name one" in capfd.readouterr().err


def test_a_run_named_after_the_job_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for variable in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"):
        monkeypatch.delenv(variable, raising=False)
    assert main(["train", *TINY, "--run-dir", str(tmp_path / "songs-{job}"), "--resume", "auto"]) == 2
    assert "{job} stands for the id of a batch job" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # three starts of two ranks; test_supervise.py goes on with a run by the same command
def test_one_command_begins_a_run_goes_on_and_leaves_a_complete_one_alone(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2", "SLURM_RESTART_COUNT": "1"}
    job |= {"SLURM_JOB_NODELIST": f"{socket.gethostname()},node9", "SLURM_TASKS_PER_NODE": "1(x2)"}
    folder = tmp_path / "songs-7_2"
    flags = [*TINY, "--run-dir", str(tmp_path / "songs-{job}"), "--resume", "auto", "--cache-dir", str(tmp_path / "c")]
    flags += ["--early-stopping-patience", "100000"]
    # Open MPI would ask this Slurm for its hosts.
    command = mpirun(2, "--mca", "ras", "^slurm", "--mca", "plm", "^slurm", "hvd-train", "train", *flags)
    with started([*command, "--num-epochs", "500"], timeout_s=120, env=job) as interrupted:
        interrupted.wait_for("epoch  3/500", timeout_s=100)
        interrupted.signal(signal.SIGTERM)
        stopped_in = int(re.findall(r"epoch +(\d+)/500", interrupted.wait(30).output)[-1])
    assert (folder / "checkpoints" / "last.npz").exists()
    assert not (folder / "DONE").exists()

    finished = run([*command, "--num-epochs", str(stopped_in + 5)], timeout_s=120, env=job)
    report = json.loads((folder / "report.json").read_text())
    assert report["epochs"] == stopped_in + 5
    assert finished.stdout.count("no rank runs on node9, which belongs to this batch job") == 1, str(finished)
    assert int(re.findall(r"epoch +(\d+)/", finished.stdout)[0]) >= stopped_in > 1, str(finished)
    assert report["job"] == {"scheduler": "Slurm", "id": "7_2", "restarts": 1}

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = run([*command, "--num-epochs", "900"], timeout_s=60, env=job)
    assert again.stdout.count("is complete, so nothing is trained") == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
