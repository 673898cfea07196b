"""hvd-train jobs cancel, resume and logs, with commands that stand for those of schedulers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from fake_schedulers import COMMANDS, FakeCluster
from submitted import cluster_of, end, start, submit, the_status

from hvd_train.cli import main
from hvd_train.cluster import jobs
from hvd_train.cluster.jobs import cancelling, following
from hvd_train.cluster.submit import queue
from hvd_train.runs import RunDir
from hvd_train.schedulers import scheduler_named


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cancelling, "SAVE_LIMIT_S", 3.0)
    monkeypatch.setattr(cancelling, "GONE_LIMIT_S", 60.0)
    monkeypatch.setattr(cancelling, "POLL_S", 0.05)
    monkeypatch.setattr(following, "POLL_S", 0.02)
    monkeypatch.setattr(following, "ASK_EVERY_S", 0.2)
    monkeypatch.setattr(following, "LINGER_S", 0.1)


@pytest.mark.parametrize("flag", COMMANDS)
def test_a_pending_job_is_cancelled_at_once(flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(flag, tmp_path, monkeypatch)
    submit(flag)
    assert main(["jobs", "cancel", "101"]) == 0
    assert cluster.jobs["101"]["state"] == "gone"
    assert the_status() == "cancelled: it never began"


@pytest.mark.parametrize("flag", ["slurm", "pbs", "lsf"])
def test_a_running_job_saves_before_it_is_cancelled(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The supervisor answers the warning. It had just submitted a follow-up, which must not stay."""
    monkeypatch.setattr(cancelling, "SAVE_LIMIT_S", 60.0)
    cluster = cluster_of(flag, tmp_path, monkeypatch)
    run = submit(flag).runs[0]
    start(run)
    cluster.environment("101")
    warn = scheduler_named(flag).warn_command("101")
    assert warn is not None

    def supervisor() -> None:
        while not [call for call in cluster.calls(warn[0]) if call.arguments == warn[1:]]:
            time.sleep(0.02)
        queue.follow_up(run, "101")
        end(run, "saved", "continue", "saved after a warning")

    thread = threading.Thread(target=supervisor)
    thread.start()
    assert main(["jobs", "cancel", "101"]) == 0
    thread.join(10)
    printed = capsys.readouterr().out
    assert "asked 101 to save a checkpoint, which may take 60 s\n101 ended its ranks: saved after a warning" in printed
    assert {job: cluster.jobs[job]["state"] for job in cluster.jobs} == {"101": "gone", "102": "gone"}
    assert the_status("102") == "cancelled"


def test_a_job_that_does_not_save_is_cancelled_all_the_same(
    slurm: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start(submit().runs[0])
    slurm.environment("101")
    assert main(["jobs", "cancel", "101"]) == 0
    printed = capsys.readouterr().out
    assert "101 has not saved within 3 s. The last checkpoint counts\ncancelled 101 (songs-101)\n" in printed
    assert main(["jobs", "cancel", "101"]) == 0
    assert "101 (songs-101) is not in the queue: cancelled" in capsys.readouterr().out


def test_with_now_nobody_is_warned(slurm: FakeCluster) -> None:
    start(submit().runs[0])
    slurm.environment("101")
    slurm.misbehave("squeue", refuse="Unable to contact slurm controller", times=1)
    assert main(["jobs", "cancel", "--now", "101"]) == 0
    assert [call.arguments for call in slurm.calls("scancel")] == [["101"]]


def test_a_scheduler_that_refuses_to_cancel_is_quoted(slurm: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    submit()
    slurm.misbehave("scancel", refuse="scancel: error: Access denied")
    assert main(["jobs", "cancel", "101"]) == 2
    assert (
        "scancel refused (exit code 1) and printed: scancel: error: Access denied. 101 is still"
        in capsys.readouterr().err
    )


def test_one_task_alone_is_cancelled(slurm: FakeCluster) -> None:
    submit(tasks=3)
    assert main(["jobs", "cancel", "101_1"]) == 0
    assert [job["state"] for job in slurm.jobs.values()] == ["pending", "gone", "pending"]


def test_an_ended_job_is_resumed_in_its_directory(slurm: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit().runs[0]
    assert main(["jobs", "resume", "101"]) == 2
    assert "There is nothing to resume: songs-101 is pending" in capsys.readouterr().err
    slurm.set("101", state="gone")
    start(run)
    end(run)
    time.sleep(0.02)
    assert main(["jobs", "resume", "101"]) == 0
    assert "runs/songs-101 was submitted again as job 102; log runs/songs-101-102.log" in capsys.readouterr().out
    assert "--run-dir runs/songs-101\n" in slurm.jobs["102"]["script"]
    assert the_status("102") == "pending: Resources"
    (one,) = jobs.selected("101", Path("runs"))
    assert one.ids == ("101", "102")


def test_the_failed_tasks_of_an_array_are_one_array_again(
    slurm: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = submit(tasks=4).runs
    RunDir(runs[0]).done.touch()
    for task in (1, 2, 3):
        slurm.set(f"101_{task}", state="gone" if task < 3 else "running")
    assert main(["jobs", "resume", "101"]) == 0
    assert "runs/songs-101_1, runs/songs-101_2 was submitted again as job 102" in capsys.readouterr().out
    script = slurm.jobs["102_0"]["script"]
    assert sorted(slurm.jobs)[4:] == ["102_0", "102_1"]
    assert "    0) flags=(--data songs.csv --seed 1); run_dir=runs/songs-101_1 ;;\n" in script
    assert '-- train "${flags[@]}" --run-dir "$run_dir"\n' in script
    again = jobs.selected("102", Path("runs"))
    assert [run.name for run in again] == ["songs-101_1", "songs-101_2"]
    assert [run.spec.run_dir for run in again] == ["runs/songs-101_1", "runs/songs-101_2"]
    assert again[0].logs[-1] == Path.cwd() / "runs" / "songs-102_0.log"


def test_logs_are_printed_and_followed_over_requeues(
    slurm: FakeCluster, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    submitted = submit()
    run, log = submitted.runs[0], Path(submitted.logs[0])
    assert main(["jobs", "logs", "101"]) == 2
    assert b"101 has no log yet: it is pending: Resources. -f waits for it." in capfdbinary.readouterr().err
    log.write_bytes(b"first \xff line\n")
    assert main(["jobs", "logs", "101"]) == 0
    assert capfdbinary.readouterr().out == b"first \xff line\n"

    def job() -> None:
        slurm.environment("101")
        time.sleep(0.3)
        with log.open("ab") as file:
            file.write(b"second line\n")
        new = queue.follow_up(run, "101")
        slurm.set("101", state="gone")
        time.sleep(0.3)
        Path(f"{run}-{new}.log").write_bytes(b"third line\n")
        RunDir(run).done.touch()
        slurm.set(new, state="gone")

    thread = threading.Thread(target=job)
    thread.start()
    assert main(["jobs", "logs", "songs-101", "-f"]) == 0
    thread.join(10)
    printed = capfdbinary.readouterr()
    assert printed.out == b"first \xff line\nsecond line\nthird line\n"
    assert b"note: 102 has ended: complete" in printed.err


def test_several_tasks_are_not_followed_at_once(slurm: FakeCluster, capfd: pytest.CaptureFixture[str]) -> None:
    submitted = submit(tasks=2)
    for number, log in enumerate(submitted.logs):
        Path(log).write_text(f"task {number}\n")
    assert main(["jobs", "logs", "101"]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("==> ")
    assert "songs-101_0.log <==\ntask 0\n==> " in printed
    assert main(["jobs", "logs", "101", "-f"]) == 2
    assert "has 2 tasks: 101_0, 101_1" in capfd.readouterr().err
