"""hvd-train jobs list and status: what has become of a job, by the scheduler and by the files, for every scheduler."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fake_schedulers import COMMANDS, FakeCluster
from submitted import cluster_of, end, start, submit, the_status

from hvd_train.cli import main
from hvd_train.cluster import jobs
from hvd_train.errors import UserError
from hvd_train.runs import RunDir


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("flag", COMMANDS)
def test_a_job_is_followed_through_its_life(flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(flag, tmp_path, monkeypatch)
    run = submit(flag).runs[0]
    assert the_status().startswith("pending")
    cluster.environment("101")
    assert the_status() == "running"
    start(run)
    assert the_status().startswith("running: 2 ranks on node1 since 20")
    end(run, "saved", "continue", "saved after a warning")
    assert the_status() == "running"
    cluster.set("101", state="gone")
    assert the_status() == "lost: the scheduler has no such job; the last start ended: saved after a warning"
    end(run)
    assert the_status() == "failed: the loss is nan"
    RunDir(run).done.touch()
    assert the_status() == "complete"


def test_what_the_run_has_settled_is_not_asked_for(slurm: FakeCluster) -> None:
    run = submit().runs[0]
    start(run)
    assert the_status().startswith("pending")
    time.sleep(0.02)
    end(run, "stopped", "nothing", "stopped by SIGTERM")
    before = len(slurm.calls("squeue"))
    assert the_status() == "stopped: stopped by SIGTERM"
    assert len(slurm.calls("squeue")) == before


def test_a_job_that_never_began_or_was_killed_is_lost(slurm: FakeCluster) -> None:
    run = submit().runs[0]
    slurm.set("101", state="gone")
    assert the_status() == "lost: the scheduler has no such job, and it never began"
    start(run)
    assert the_status() == "lost: the scheduler has no such job, and its ranks were running"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"refuse": "slurm_load_jobs error: Unable to contact slurm controller"},
            "squeue ended with 1 and printed: slurm_load",
        ),
        ({"seconds": 30}, "squeue did not end within 0.5 s"),
    ],
)
def test_a_scheduler_that_does_not_answer_leaves_the_files(
    fault: dict[str, object],
    message: str,
    slurm: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = submit().runs[0]
    start(run)
    if "seconds" in fault:  # the other commands may be slow on a busy machine
        monkeypatch.setenv("HVD_TRAIN_SCHEDULER_LIMIT_S", "0.5")
    slurm.misbehave("squeue", **fault)  # type: ignore[arg-type]
    assert main(["jobs", "status", "101"]) == 0
    printed = capsys.readouterr()
    assert "state       unknown: when it was last seen: 2 ranks on node1" in printed.out
    assert f"note: Slurm does not answer: {message}" in printed.err
    assert main(["jobs", "cancel", "101"]) == 2
    assert "Nothing was cancelled. --now cancels without asking" in capsys.readouterr().err
    assert main(["jobs", "resume", "101"]) == 2
    assert "Nothing was submitted: the run may still be in the queue" in capsys.readouterr().err


def test_a_command_that_prints_nonsense_does_no_harm(slurm: FakeCluster) -> None:
    submit()
    slurm.misbehave("squeue", say="Good morning")
    assert the_status() == "ending"


def test_a_job_is_found_by_id_name_and_directory(slurm: FakeCluster) -> None:
    submit(tasks=2)
    submit()
    ids = {given: [run.id for run in jobs.selected(given, Path("runs"))] for given in ("101", "101_1", "102")}
    assert ids == {"101": ["101_0", "101_1"], "101_1": ["101_1"], "102": ["102"]}
    for given in ("101[1]", "songs-101_1", "runs/songs-101_1", str(Path.cwd() / "runs/songs-101_1")):
        assert [run.id for run in jobs.selected(given, Path("runs"))] == ["101_1"], given
    with pytest.raises(UserError, match=r"No job '10' was found in runs/.*The newest there: .*102 \(songs-102\)"):
        jobs.selected("10", Path("runs"))


def test_the_list_is_plain_lines_in_a_pipe(slurm: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    assert "No run in runs/ was submitted" in capsys.readouterr().out
    run = submit().runs[0]
    submit()
    start(run)
    slurm.environment("101")
    assert main(["jobs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["job", "state", "run", "trained", "checkpoint", "restarts", "requeues"]
    assert lines[1].startswith("101  running: 2 ranks on node1 since ")
    assert lines[2].split()[:3] == ["102", "pending:", "Resources"]


def test_the_table_of_an_array_has_metrics_and_own_flags(
    slurm: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = submit(tasks=2).runs
    (runs[0] / "metrics.csv").write_text("epoch,loss,val_loss,val_mae\n1,3,2.5,1\n2,3,1.5,1\n")
    (runs[1] / "report.json").write_text('{"metrics": {"test": {"loss": 1.25}}}')
    (runs[1] / "DONE").touch()
    assert main(["jobs", "status", "101"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[-4:] == ["val_loss", "val_mae", "test_loss", "flags"]
    assert first.split()[0] == "101_0"
    assert first.split()[-4:] == ["1.5000", "1.0000", "--seed", "0"]
    assert second.split()[:2] == ["101_1", "complete"]
    assert second.split()[-3:] == ["1.2500", "--seed", "1"]


def test_damaged_files_are_no_end_of_the_list(slurm: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit().runs[0]
    job = RunDir(run).job
    (run / "metrics.csv").write_text("epoch,val_loss\n1,x\n")
    (run / "report.json").write_text("[]")
    job.history.write_bytes(b"\xff{")
    assert main(["jobs", "status", "101"]) == 0
    job.spec.write_text("format = 1")
    assert main(["jobs", "list"]) == 0
    assert "unknown: " in capsys.readouterr().out
    assert main(["jobs", "resume", "101"]) == 2
    job.ids.write_text("")
    assert main(["jobs", "status", "runs/songs-101"]) == 2
    os.unlink(job.ids)
    assert main(["jobs"]) == 0
