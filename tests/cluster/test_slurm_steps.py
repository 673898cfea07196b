"""Slurm without the supervisor: steps of srun and mpirun, their signals, and what a job is told about itself."""

from __future__ import annotations

import json

import pytest
from batch import TRAIN, Run, pace, script, slurm_state, wait_for_slurm_state
from lab import Lab

SITES = ("slurm",)
pytestmark = pytest.mark.timeout(600)
TRAINING = "hvd-train " + " ".join(TRAIN) + " --run-dir $RUN --resume auto"
LAUNCHERS = {"srun": "srun --mpi=pmix", "mpirun": "mpirun --bind-to none"}
LOCAL = """
import os
from hvd_train.distributed import detect_placement
placement = detect_placement(os.environ)
print(placement.rank, placement.host, placement.local_rank, placement.local_size)
"""


def test_srun_without_pmix_is_told_in_one_line(lab: Lab) -> None:
    done = lab.on("head", "srun", "--ntasks=2", "hvd-train", *TRAIN, ok=False, timeout_s=60)
    assert done.returncode == 3, done.stdout
    told = [line for line in done.stdout.splitlines() if not line.startswith("srun: ")]
    assert len(told) == 1, done.stdout
    assert "--mpi=pmix" in told[0]


def test_unequal_tasks_of_srun_have_the_right_local_sizes(lab: Lab) -> None:
    srun = ("srun", "--quiet", "--mpi=pmix")  # quiet: on a busy machine it tells that it waits for the nodes
    done = lab.on("head", *srun, "--nodes=2", "--ntasks=3", "python", "-c", LOCAL, timeout_s=60)
    assert sorted(done.stdout.splitlines()) == ["0 node1 0 2", "1 node1 1 2", "2 node2 0 1"]


def test_srun_starts_ranks_that_need_no_pmix(lab: Lab) -> None:
    run_dir = lab.home / "without-mpi"
    command = ("hvd-train", "train", "--engine", "tensorflow", "--recipe", "debug", "--num-songs", "1000")
    done = lab.on("head", "srun", "--nodes=2", "--ntasks=2", *command, "--run-dir", str(run_dir), timeout_s=240)
    assert "2 on node1 (1), node2 (1), joined by TensorFlow" in done.stdout, done.stdout
    assert "gradients go around a ring" in done.stdout, done.stdout
    assert json.loads((run_dir / "report.json").read_text())["size"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_warning_saves_and_the_next_start_goes_on(lab: Lab, launcher: str, ranks: int) -> None:
    pace(lab, 1)
    name = f"usr1-{launcher}-{ranks}"
    # A shell runs its trap when `wait` is interrupted; the second `wait` has the code.
    lines = f"trap 'kill -USR1 $!' USR1; {LAUNCHERS[launcher]} {TRAINING} &\nwait $!; wait $!; echo code $?"
    run = script(lab, "slurm", f"--nodes={ranks} --ntasks-per-node=1", lines=lines, name=name)
    run.wait_for_epochs()
    # To the steps where srun started them; mpirun is in the script, and passes it on to its ranks.
    target = ["--batch"] if launcher == "mpirun" else []
    lab.on("head", "scancel", *target, "--signal=USR1", run.id)
    run.wait_for_text("code ")
    assert "code 85" in run.text, run.text
    assert not run.done
    pace(lab, 0)
    again = script(
        lab, "slurm", f"--nodes={ranks} --ntasks-per-node=1", lines=f"{LAUNCHERS[launcher]} {TRAINING}", name=name
    )
    wait_for_slurm_state(lab, again, "COMPLETED", "FAILED")
    assert again.done, again.text


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_sigterm_ends_the_step_with_a_word_and_a_checkpoint(lab: Lab, launcher: str) -> None:
    pace(lab, 1)
    lines = f"trap 'kill -TERM $!' TERM; {LAUNCHERS[launcher]} {TRAINING} &\nwait $!; wait $!; echo code $?"
    run = script(lab, "slurm", "--nodes=2 --ntasks-per-node=1", lines=lines, name=f"term-{launcher}")
    run.wait_for_epochs()
    target = ["--batch"] if launcher == "mpirun" else []
    lab.on("head", "scancel", *target, "--signal=TERM", run.id)
    run.wait_for_text("code ", timeout_s=60)
    assert "SIGTERM" in run.text, run.text
    assert "code 0" not in run.text
    assert (run.path / "checkpoints" / "last.npz").exists()


@pytest.mark.slow
def test_doctor_in_a_job_of_little_memory_shows_that_of_the_job(lab: Lab) -> None:
    run = script(lab, "slurm", "--ntasks=1 --mem=1500M", lines="hvd-train doctor; echo code $?", name="doctor")
    run.wait_for_text("code ")
    assert "Slurm" in run.text, run.text
    assert "the limit of this job or container is 1.46 GiB" in run.text, run.text


@pytest.mark.slow
def test_the_job_names_the_run_directory(lab: Lab) -> None:
    """Jobs of a script that gives no --run-dir do not share one."""
    pace(lab, 0)
    training = "hvd-train " + " ".join(TRAIN)
    runs: list[Run] = [script(lab, "slurm", "--ntasks=1", lines=training, name=f"own{i}") for i in (1, 2)]
    for run in runs:
        wait_for_slurm_state(lab, run, "COMPLETED", "FAILED")
        assert slurm_state(lab, run.id) == "COMPLETED", run.text
    made = sorted(path.name for path in (lab.home / "runs").iterdir() if path.is_dir())
    for run in runs:
        assert sum(name.endswith(f"-job{run.id}") for name in made) == 1, made
