"""submit, status, logs, cancel and resume with a real training. The scheduler is fake; the test runs its scripts.

The commands of the scheduler come from fake_schedulers.py. It starts nothing, so `Queue.start` does what a compute node does:
run the script with the variables of the job, and write its output to the log.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_schedulers import FakeCluster
from pace import Pace
from processes import Finished, Job, run, started

TRAIN = ["train", "--recipe", "debug", "--num-epochs", "20", "--early-stopping-patience", "99"]


class Queue:
    """A fake scheduler, a working directory, and what runs there."""

    def __init__(self, folder: Path, scheduler: str) -> None:
        self.cluster = FakeCluster(folder / "cluster", scheduler)
        self.work = folder / "work"
        self.work.mkdir()
        self.run = self.work / "runs" / "debug-101"
        self.pace = Pace(folder, 3.0)  # some programs have to start between the first epoch and the last

    @property
    def env(self) -> dict[str, str | None]:
        return {"PATH": self.cluster.search_path}

    def hvd(self, *arguments: str, ok: bool | None = True, timeout_s: float = 60) -> Finished:
        return run(["hvd-train", *arguments], timeout_s=timeout_s, env=self.env, cwd=self.work, ok=ok)

    def submit(self) -> str:
        self.hvd("submit", "--on", self.cluster.scheduler, "--ranks-per-node", "2", "--", *TRAIN, *self.pace.flags)
        return "101"

    @contextlib.contextmanager
    def start(self, job_id: str, log: Path) -> Iterator[Job]:
        """The script of a job as a node runs it: the process of the script is that of the supervisor."""
        script = self.cluster.folder / f"script.{job_id}"
        script.write_text(self.cluster.jobs[job_id]["script"])
        variables = self.cluster.environment(job_id, {socket.gethostname(): 2})
        command = ["bash", "-c", f"exec >>'{log}' 2>&1; exec bash {script}"]
        with started(command, timeout_s=240, env={**self.env, **variables}, cwd=Path("/")) as job:
            self.cluster.set(job_id, pid=job.pid)
            yield job

    def history(self) -> list[tuple[str, str, str]]:
        """Event, outcome and what came next."""
        lines = (self.run / "job" / "history.jsonl").read_text().splitlines()
        events = map(json.loads, lines)
        return [(event["event"], event.get("outcome", ""), event.get("next", "")) for event in events]


def wait_for_epoch(job: Job, log: Path) -> None:
    """Until the log has the first epoch."""

    deadline = time.monotonic() + 120
    while not (log.exists() and re.search(r"^epoch +1/20", log.read_text(), re.MULTILINE)):
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "no log"
        assert job.process.poll() is None, log.read_text()
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_is_submitted_cancelled_with_a_checkpoint_and_resumed(tmp_path: Path) -> None:
    queue = Queue(tmp_path, "slurm")
    log = tmp_path / "work" / "runs" / "debug-101.log"
    queue.submit()
    assert "state       pending: Resources" in queue.hvd("jobs", "status", "101").stdout
    with queue.start("101", log) as job:
        wait_for_epoch(job, log)
        assert "state       running: 2 ranks on" in queue.hvd("jobs", "status", "101").stdout
        cancelled = queue.hvd("jobs", "cancel", "101").stdout
        assert "101 ended its ranks: " in cancelled
        assert "cancelled 101 (debug-101)" in cancelled
        assert job.wait(30).code != 0
    queue.pace.set(0.0)
    # Cancelled: the supervisor neither requeues the job nor submits a next one.
    assert queue.history()[:2] == [("start", "", ""), ("end", "saved", "nothing")]
    assert "cancelled" in queue.hvd("jobs").stdout
    assert "epoch  1/20" in queue.hvd("jobs", "logs", "101").stdout
    assert "as job 102" in queue.hvd("jobs", "resume", "101").stdout
    second = tmp_path / "work" / "runs" / "debug-101-102.log"
    with queue.start("102", second) as job:
        followed = queue.hvd("jobs", "logs", "debug-101", "-f", timeout_s=200)
        assert job.wait(60).code == 0
        queue.cluster.set("102", state="gone")
    assert "note: 102 has ended: complete" in followed.stderr
    text = second.read_text()
    assert "epoch 20/20" in text
    assert "epoch  1/20" not in text
    status = queue.hvd("jobs", "status", "102").stdout
    assert "state       complete" in status
    assert "test_loss" in status


@pytest.mark.slow
def test_a_chained_job_is_followed_to_the_end_of_the_run(tmp_path: Path) -> None:
    """The warning reaches the supervisor by qsig. It saves and submits the next job, which waits for this one."""
    queue = Queue(tmp_path, "pbs")
    log = tmp_path / "work" / "runs" / "debug-101.log"
    queue.submit()
    with started(["hvd-train", "jobs", "logs", "101", "-f"], timeout_s=240, env=queue.env, cwd=queue.work) as logs:
        logs.wait_for("101 is pending: ", 30)
        with queue.start("101", Path("/dev/null")) as job:
            wait_for_epoch(job, log)
            run(["qsig", "-s", "SIGUSR1", "101"], timeout_s=30, env=queue.env)
            assert job.wait(60).code == 85
            queue.pace.set(0.0)
            queue.cluster.set("101", state="gone")
        assert queue.cluster.jobs["102"]["reason"] == "Dependency"
        assert "pending: " in queue.hvd("jobs", "status", "debug-101").stdout
        with queue.start("102", Path("/dev/null")) as job:
            assert job.wait(150).code == 0
            queue.cluster.set("102", state="gone")
        ended = logs.wait(40)
    assert ended.code == 0
    assert "epoch  1/20" in ended.stdout
    assert "epoch 20/20" in ended.stdout
    assert "note: 102 has ended: complete" in ended.stderr
    assert queue.history() == [
        *[("start", "", ""), ("end", "saved", "continue")],
        *[("start", "", ""), ("end", "done", "nothing")],
    ]
