"""Grid Engine: a run of two hosts to its end, over its time limit by a chain of jobs, and deleted."""

from __future__ import annotations

import pytest
from batch import TRAIN, Run, grid_engine_lists, pace, script, submit
from lab import Lab

SITES = ("gridengine",)
pytestmark = pytest.mark.timeout(900)
TWO_BY_TWO = ("--nodes", "2", "--ranks-per-node", "2", "--pe", "mpi")


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> Run:
    pace(lab, 0)
    run = submit(lab, "sge", *TWO_BY_TWO, "--time", "0:20:00")
    run.wait_for(lambda: not grid_engine_lists(lab, run.id), "the end")
    return run


def test_a_submitted_run_comes_to_its_end(lab: Lab, undisturbed: Run) -> None:
    run = undisturbed
    assert run.done, run.text
    assert run.report["size"] == 4
    (start, end) = run.history
    assert (start["hosts"], start["job"], end["outcome"]) == ({"node1": 2, "node2": 2}, run.id, "done")


def test_a_run_longer_than_its_time_limit_is_continued_by_a_follow_up(lab: Lab, undisturbed: Run) -> None:
    """A signal to the supervisor is the warning, because Grid Engine has none that could come at a known place of the run."""
    pace(lab, 15)
    run = submit(lab, "sge", *TWO_BY_TWO, "--time", "0:20:00")
    run.wait_for_epochs()
    for node in ("node1", "node2"):
        lab.on(node, "pkill", "-USR1", "-f", "hvd-train supervise", root=True, ok=False)
    run.wait_for_text("a checkpoint and end")
    pace(lab, 0)
    run.wait_for(lambda: len(run.history) >= 2, "the end of the first start")
    saved = run.history[1]
    assert (saved["code"], saved["outcome"], saved["next"]) == (85, "saved", "continue"), run.text
    run.wait_for(lambda: len((run.path / "job" / "id").read_text().split()) == 2, "the follow-up")
    for job in (run.path / "job" / "id").read_text().split():
        run.wait_for(lambda job=job: not grid_engine_lists(lab, job), f"the end of job {job}")  # type: ignore[misc]
    assert run.done, run.text
    assert (run.history[2]["epoch"], run.history[2]["step"]) == (saved["epoch"], saved["step"]) != (0, 0)
    assert run.weights() == undisturbed.weights()


def test_qdel_ends_every_rank_on_both_hosts(lab: Lab) -> None:
    pace(lab, 10)
    run = submit(lab, "sge", *TWO_BY_TWO, "--time", "0:20:00")
    run.wait_for_epochs()
    lab.on("head", "qdel", run.id)
    run.wait_for(lambda: not grid_engine_lists(lab, run.id), "the end")
    assert not run.done, run.text
    assert len((run.path / "job" / "id").read_text().split()) == 1, "a job that was deleted was continued"
    assert (run.path / "checkpoints" / "last.npz").exists()
    for node in ("node1", "node2"):
        run.wait_for(lambda node=node: not ranks_on(lab, node), f"the end of the ranks on {node}", 30)  # type: ignore[misc]


@pytest.mark.slow
def test_the_warning_of_notify_saves(lab: Lab) -> None:
    """Grid Engine sends SIGUSR2 before it kills a job at its limit, where the job was submitted with -notify."""
    pace(lab, 2)
    training = " ".join(TRAIN)
    run = script(
        lab,
        "sge",
        "-pe mpi 4",
        "-notify",
        lines=f"exec hvd-train supervise -- {training} --run-dir $RUN",
        name="notify",
    )
    run.wait_for_epochs()
    # The queue's `notify` time begins at once.
    lab.on("head", "qdel", run.id)
    run.wait_for(lambda: not grid_engine_lists(lab, run.id), "the end")
    assert run.history[-1]["code"] == 85, run.text


def ranks_on(lab: Lab, node: str) -> str:
    return lab.on(node, "pgrep", "-a", "-f", "hvd-train train", root=True, ok=False).stdout
