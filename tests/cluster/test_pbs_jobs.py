"""OpenPBS: a run of two hosts to its end, over its walltime by a chain of jobs, and deleted.

PBS sends no warning before its walltime: the supervisor's own timer does, by the limit that `qstat -f` tells.
"""

from __future__ import annotations

import pytest
from batch import Run, pace, submit
from lab import Lab

SITES = ("openpbs",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
TWO_BY_TWO = ("--nodes", "2", "--ranks-per-node", "2")


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> Run:
    pace(lab, 0)
    run = submit(lab, "pbs", *TWO_BY_TWO, "--time", "0:20:00")
    run.wait_for(lambda: is_gone(lab, run.id), "the end")
    return run


def test_a_submitted_run_comes_to_its_end(lab: Lab, undisturbed: Run) -> None:
    run = undisturbed
    assert run.done, run.text
    assert run.report["size"] == 4
    assert len(run.history) == 2, run.text
    (start, end) = run.history
    assert (start["hosts"], start["job"], end["outcome"]) == ({"node1": 2, "node2": 2}, run.id, "done")


def test_a_run_that_is_over_its_walltime_ends_as_an_undisturbed_one(lab: Lab, undisturbed: Run) -> None:
    """The warning is due two minutes after the start of a job: in the first one the second validation still runs then."""
    pace(lab, 5)
    run = submit(lab, "pbs", *TWO_BY_TWO, "--time", "0:04:00", "--warn", "120")
    run.wait_for_epochs()
    pace(lab, 240)
    run.wait_for_text("the time limit is near: the ranks save a checkpoint and end")
    pace(lab, 0)
    run.wait_for(lambda: len(run.history) >= 2, "the end of the first start")
    saved = run.history[1]
    assert (saved["code"], saved["outcome"], saved["next"]) == (85, "saved", "continue"), run.text
    run.wait_for(lambda: len((run.path / "job" / "id").read_text().split()) == 2, "the follow-up")
    first, second = (run.path / "job" / "id").read_text().split()
    run.wait_for(lambda: is_gone(lab, first), "the end of the first job")
    run.wait_for(lambda: is_gone(lab, second), "the end of the follow-up")
    assert run.done, run.text
    assert (run.history[2]["epoch"], run.history[2]["step"]) == (saved["epoch"], saved["step"]) != (0, 0)
    assert run.history[2]["job"] == second
    assert run.weights() == undisturbed.weights()


def test_qdel_ends_every_rank_on_both_hosts(lab: Lab) -> None:
    pace(lab, 10)
    run = submit(lab, "pbs", *TWO_BY_TWO, "--time", "0:20:00")
    run.wait_for_epochs()
    lab.on("head", "qdel", run.id)
    run.wait_for(lambda: is_gone(lab, run.id), "the end")
    assert not run.done, run.text
    assert len((run.path / "job" / "id").read_text().split()) == 1, "a job that was deleted was continued"
    assert (run.path / "checkpoints" / "last.npz").exists()
    for node in ("node1", "node2"):
        run.wait_for(lambda node=node: not ranks_on(lab, node), f"the end of the ranks on {node}", 30)  # type: ignore[misc]


def is_gone(lab: Lab, job: str) -> bool:
    """Without -x PBS shows no job that has ended."""
    return lab.on("head", "qstat", job, ok=False, timeout_s=120).returncode != 0


def ranks_on(lab: Lab, node: str) -> str:
    return lab.on(node, "pgrep", "-a", "-f", "hvd-train train", root=True, ok=False).stdout
