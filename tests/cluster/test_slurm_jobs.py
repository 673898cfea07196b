"""Slurm: a run of two nodes to its end, over its time limit, and cancelled."""

from __future__ import annotations

import re

import pytest
from batch import EPOCHS, Run, begin_now, pace, slurm_state, submit, wait_for_slurm_state
from lab import Lab

SITES = ("slurm",)
pytestmark = pytest.mark.timeout(900)
WARN_MIN = 5
TWO_BY_TWO = ("--nodes", "2", "--ranks-per-node", "2")


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> Run:
    """A run that was submitted, and ran to its end."""
    pace(lab, 0)
    run = submit(lab, "slurm", *TWO_BY_TWO, "--time", "0:20:00")
    wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
    return run


def test_a_submitted_run_comes_to_its_end(lab: Lab, undisturbed: Run) -> None:
    run = undisturbed
    assert slurm_state(lab, run.id) == "COMPLETED", run.text
    assert run.done, run.text
    assert run.report["size"] == 4
    (start, end) = run.history
    assert (start["hosts"], start["ranks"], start["job"]) == ({"node1": 2, "node2": 2}, 4, run.id)
    assert (end["code"], end["outcome"], end["next"]) == (0, "done", "nothing")
    assert "slots=2" in (run.path / "job" / "hostfile").read_text()
    status = lab.on("head", "hvd-train", "jobs", "status", run.id).stdout
    assert "complete" in status, status


def test_a_run_longer_than_its_time_limit_is_warned_saved_requeued_and_the_same(lab: Lab, undisturbed: Run) -> None:
    pace(lab, 10)
    run = submit(lab, "slurm", *TWO_BY_TWO, "--time", "0:30:00", "--warn", str(WARN_MIN * 60))
    run.wait_for_epochs()
    # No time is left before the warning. Slurm looks at it twice a minute.
    limit_minutes(lab, run, int(elapsed_s(lab, run)) // 60 + WARN_MIN)
    run.wait_for_text("a checkpoint and end")
    pace(lab, 0)
    wait_for_slurm_state(lab, run, "PENDING")
    assert not run.done
    saved = run.history[-1]
    assert (saved["code"], saved["outcome"], saved["next"]) == (85, "saved", "continue"), run.text
    limit_minutes(lab, run, 60)
    begin_now(lab, run)
    wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
    assert run.done, run.text
    assert [event["event"] for event in run.history] == ["start", "end"] * 2
    second = run.history[2]
    assert (second["epoch"], second["step"]) == (saved["epoch"], saved["step"]) != (0, 0)
    assert run.num_epochs == EPOCHS
    assert run.weights() == undisturbed.weights()
    assert "start 1 of" in run.text, "the second start cut the log"
    assert "start 2 of" in run.text


def limit_minutes(lab: Lab, run: Run, minutes: int) -> None:
    lab.on("head", "scontrol", "update", f"JobId={run.id}", f"TimeLimit={minutes}", root=True)


def elapsed_s(lab: Lab, run: Run) -> int:
    """How long the job has run, from [[days-]hours:]minutes:seconds."""
    shown = lab.on("head", "squeue", "--noheader", f"--jobs={run.id}", "--format=%M").stdout.strip()
    minutes, seconds = re.findall(r"\d+", shown)[-2:]
    return int(minutes) * 60 + int(seconds)


def test_jobs_cancel_saves_and_scancel_leaves_nothing(lab: Lab) -> None:
    """Two runs at once, one on each node."""
    pace(lab, 2)
    politely, at_once = (submit(lab, "slurm", "--time", "0:20:00") for _ in range(2))
    for run in (politely, at_once):
        run.wait_for_epochs()
    lab.on("head", "scancel", at_once.id)
    lab.on("head", "hvd-train", "jobs", "cancel", politely.id, timeout_s=90)
    for run in (politely, at_once):
        # Not the PENDING of a job that was warned, saved, and is in the queue again.
        wait_for_slurm_state(lab, run, "CANCELLED", "COMPLETED", "FAILED")
        assert slurm_state(lab, run.id) == "CANCELLED", run.text
        assert not run.done
        assert (run.path / "checkpoints" / "last.npz").exists()
    assert politely.history[-1]["code"] == 85, politely.text
    assert_nothing_runs(lab)


def assert_nothing_runs(lab: Lab) -> None:
    for node in ("node1", "node2"):
        left = lab.on(node, "ps", "-u", "alice", "-o", "pid,args", root=True, ok=False).stdout
        assert "hvd-train" not in left, left
        assert "mpirun" not in left, left
