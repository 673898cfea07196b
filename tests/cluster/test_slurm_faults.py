"""Slurm: a node that is lost, an array, memory that runs out, and two jobs that share a node."""

from __future__ import annotations

import re

import pytest
from batch import EPOCHS, TRAIN, Run, pace, script, submit, wait_for_slurm_state
from lab import Lab
from slurm_site import has_groups, idle, write_groups
from waits import wait_until

SITES = ("slurm",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TIME = ("--time", "0:20:00")
SUPERVISED = "exec hvd-train supervise -- " + " ".join(TRAIN) + " --run-dir $RUN"


def test_a_node_that_is_set_down_is_left_out_and_the_run_goes_on(lab: Lab) -> None:
    pace(lab, 2)
    run = submit(lab, "slurm", "--nodes", "2", "--ranks-per-node", "1", *TIME)
    run.wait_for_epochs(2)
    lab.on("head", "scontrol", "update", "NodeName=node2", "State=down", "Reason=test", root=True)
    try:
        run.wait_for(
            lambda: [event["event"] for event in run.history][-1:] == ["start"] and len(run.history) == 3, "start 2"
        )
        pace(lab, 0)
        wait_for_slurm_state(lab, run, "COMPLETED", "FAILED", "NODE_FAIL")
    finally:
        # Slurm may have it back already: it does as soon as the node reports (ReturnToService).
        lab.on("head", "scontrol", "update", "NodeName=node2", "State=resume", root=True, ok=False)
    assert run.done, run.text
    first, lost, second, _ = run.history
    assert (first["hosts"], second["hosts"]) == ({"node1": 1, "node2": 1}, {"node1": 1})
    assert (lost["outcome"], lost["next"]) == ("failed", "restart")
    assert second["epoch"] >= 2
    assert run.num_epochs == EPOCHS
    assert "node2" in (run.path / "job" / "excluded").read_text()
    wait_until(lambda: idle(lab), "both nodes")


def test_an_array_has_a_directory_for_each_task(lab: Lab) -> None:
    pace(lab, 0)
    (lab.home / "sweep.toml").write_text("[grid]\nseed = [0, 1, 2, 3]\n")
    output = lab.on(
        "head", "hvd-train", "submit", "--on", "slurm", *TIME, "--array", "sweep.toml", "--", *TRAIN, timeout_s=60
    ).stdout
    found = re.search(r"submitted as job (\d+)\.\nrun +(\S+) \.\.\. \S+\nlog +(\S+)", output)
    assert found, output
    first = found[2].removesuffix("_0")
    tasks = [Run(f"{found[1]}_{task}", lab.home / f"{first}_{task}", lab.home / found[3]) for task in range(4)]
    for run in tasks:
        wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
        assert run.done, run.text
    assert [run.report["config"]["training"]["seed"] for run in tasks] == [0, 1, 2, 3]
    assert len({run.report["metrics"]["test"]["loss"] for run in tasks}) == 4


def test_memory_that_runs_out_is_told_and_not_tried_again(lab: Lab) -> None:
    if not has_groups(lab):
        pytest.skip("Slurm can hold no job to its memory here: there are no control groups of version 1")
    run = script(lab, "slurm", "--ntasks=1", "--mem=200M", lines=SUPERVISED, name="memory")
    wait_for_slurm_state(lab, run, "COMPLETED", "FAILED", "OUT_OF_MEMORY", "CANCELLED")
    assert not run.done
    assert [event["event"] for event in run.history] == ["start", "end"], run.text
    assert run.history[-1]["outcome"] == "memory", run.text
    assert "mem" in run.text.splitlines()[-1], run.text


def test_two_jobs_on_a_node_use_cores_of_their_own(lab: Lab) -> None:
    """Slurm's own limits on cores are off in this laboratory: the share of the job decides."""
    pace(lab, 2)
    runs = [script(lab, "slurm", "--ntasks=1", "--nodelist=node1", lines=SUPERVISED, name=f"share{i}") for i in (1, 2)]
    for run in runs:
        run.wait_for_epochs()
        assert "TF_NUM_INTRAOP_THREADS=1," in run.text, run.text
    masks = affinities(lab)
    assert len(masks) == 2, masks
    # Neither is bound to the core of the other: Linux can move them.
    assert set(masks) == {"0,1"}, masks
    pace(lab, 0)
    for run in runs:
        wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
        assert run.done, run.text


def test_a_job_that_slurm_binds_uses_the_cores_that_it_was_given(lab: Lab) -> None:
    if not has_groups(lab):
        pytest.skip("Slurm can hold no job to its cores here: there are no control groups of version 1")
    write_groups(lab, cores=True)
    lab.on("head", "scontrol", "reconfigure", root=True)
    try:
        pace(lab, 2)
        runs = [
            script(lab, "slurm", "--ntasks=1", "--nodelist=node1", lines=SUPERVISED, name=f"bound{i}") for i in (1, 2)
        ]
        for run in runs:
            run.wait_for_epochs()
        assert sorted(affinities(lab)) == ["0", "1"]
        pace(lab, 0)
        for run in runs:
            wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
            assert run.done, run.text
    finally:
        write_groups(lab, cores=False)
        lab.on("head", "scontrol", "reconfigure", root=True)


def affinities(lab: Lab) -> list[str]:
    """The cores that each rank on node1 may use."""
    listed = lab.on("node1", "pgrep", "-f", "hvd-train train", root=True).stdout.split()
    ranks = [pid for pid in listed if "mpirun" not in lab.on("node1", "cat", f"/proc/{pid}/cmdline", root=True).stdout]
    shown = [lab.on("node1", "taskset", "--cpu-list", "--pid", pid, root=True).stdout for pid in ranks]
    return [text.rpartition(": ")[2].strip() for text in shown]
