"""Real jobs that are warned or stopped, at every moment, under each launcher."""

from __future__ import annotations

import csv
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
from processes import BIN, Finished, Job, horovodrun, mpirun, started

from hvd_train.errors import TO_BE_CONTINUED
from hvd_train.runs import RunDir, checkpoint

HVD_TRAIN = BIN / "hvd-train"
# Epochs of about a second. LONG is so long that only a signal ends it.
SIZE = ["--num-songs", "20000", "--global-batch-size", "64", "--early-stopping-patience", "0"]
LONG = [*SIZE, "--num-epochs", "1000"]
SHORT = [*SIZE, "--num-epochs", "3", "--noise", "0.1"]
LAUNCHERS = {
    "alone": lambda *c: list(c),
    "mpirun": lambda *c: mpirun(2, *c),
    "horovodrun": lambda *c: horovodrun(2, *c),
}
GO_ON = "Go on with: hvd-train train --resume"


def train(launcher: str, run_dir: Path, *flags: str) -> list[str | Path]:
    command = [HVD_TRAIN, "train", "--recipe", "debug", "--run-dir", str(run_dir), *flags]
    return LAUNCHERS[launcher](*command)


def handles_a_warning(process: psutil.Process) -> bool:
    """Whether Python has come as far as to the handler: before, a signal ends any program."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def ranks(job: Job) -> dict[int, psutil.Process]:
    """The processes of the ranks, by their number."""
    found = {}
    for process in job.processes():
        command = process.cmdline()
        if len(command) > 1 and command[1] == str(HVD_TRAIN) and "python" in Path(command[0]).name:
            found[int(process.environ().get("OMPI_COMM_WORLD_RANK", "0"))] = process
    return found


def is_in_an_epoch(job: Job) -> None:
    """Wait until steps of the second epoch run."""
    job.wait_for("epoch  1/", timeout_s=240)
    time.sleep(0.4)


def saved_in_mid_epoch(finished: Finished, run_dir: RunDir, code: int = TO_BE_CONTINUED) -> None:
    assert finished.code == code, finished
    assert not finished.left_behind, finished
    assert "Traceback" not in finished.output, finished
    assert "died" not in finished.output, finished  # the watchdog
    state = checkpoint.load(run_dir.last).state
    found = re.search(r"saved after (?:step (\d+) of \d+ in epoch (\d+)|epoch (\d+))", finished.output)
    assert found is not None, finished
    step, epoch, whole = (int(group or 0) for group in found.groups())
    assert (state.epoch, state.step) == ((epoch - 1, step) if epoch else (whole, 0)), finished
    assert f"{GO_ON} {run_dir.path}" in finished.output, finished


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        ("mpirun", signal.SIGUSR1),
        pytest.param("alone", signal.SIGXCPU, marks=pytest.mark.slow),
        pytest.param("horovodrun", signal.SIGUSR2, marks=pytest.mark.slow),
    ],
)
def test_a_warned_job_saves_and_ends_with_its_code(launcher: str, number: signal.Signals, tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with started(train(launcher, run_dir.path, *LONG), timeout_s=330) as job:
        is_in_an_epoch(job)
        os.kill(job.pid, number)
        job.wait_for(GO_ON, timeout_s=20)  # under 5 s on a machine that does nothing else
        finished = job.wait(20)
    saved_in_mid_epoch(finished, run_dir)


@pytest.mark.slow
@pytest.mark.parametrize(("who", "number"), [(0, signal.SIGXCPU), (1, signal.SIGUSR1)])
def test_one_rank_is_warned_and_all_save(who: int, number: signal.Signals, tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with started(train("mpirun", run_dir.path, *LONG), timeout_s=330) as job:
        is_in_an_epoch(job)
        ranks(job)[who].send_signal(number)
        finished = job.wait(30)
    saved_in_mid_epoch(finished, run_dir)


@pytest.mark.slow
def test_warned_over_and_over_while_it_ends(tmp_path: Path) -> None:
    """Signals that come in the save and in the end of the process, too."""
    run_dir = RunDir(tmp_path / "run")
    with started(train("mpirun", run_dir.path, *LONG), timeout_s=330) as job:
        is_in_an_epoch(job)
        processes = ranks(job).values()
        deadline = time.monotonic() + 20
        while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
            assert time.monotonic() < deadline
            for process in processes:
                try:
                    process.send_signal(signal.SIGUSR1)
                except psutil.NoSuchProcess:
                    break
            time.sleep(0.005)
        finished = job.wait(20)
    saved_in_mid_epoch(finished, run_dir)


@pytest.mark.slow
@pytest.mark.parametrize("saved", [False, True])
def test_a_warning_that_sigterm_follows(saved: bool, tmp_path: Path) -> None:
    """At once, and in the moment after the ranks have saved."""
    run_dir = RunDir(tmp_path / "run")
    with started(train("mpirun", run_dir.path, *LONG), timeout_s=330) as job:
        is_in_an_epoch(job)
        for process in ranks(job).values():
            process.send_signal(signal.SIGUSR1)
        if saved:
            job.wait_for(GO_ON, timeout_s=20)
            job.wait_for("Primary job", timeout_s=20)
        os.kill(job.pid, signal.SIGTERM)
        finished = job.wait(30)
    # In the second after a rank's end with a code, mpirun (Open MPI 4.1) dies of any signal: of SIGSEGV, in its own end.
    of_mpirun = [-signal.SIGSEGV] if "mpirun: abort is already in progress" in finished.output else []
    assert finished.code in (1, 85, 143, *of_mpirun), finished
    assert not finished.left_behind, finished
    assert "Traceback" not in finished.output, finished
    assert checkpoint.load(run_dir.last).state.epoch >= 1
    assert GO_ON in finished.output or finished.code != 85, finished


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "number"), [("alone", signal.SIGINT), ("mpirun", signal.SIGTERM)])
def test_a_stop_saves_in_the_middle_of_an_epoch(launcher: str, number: signal.Signals, tmp_path: Path) -> None:
    """Under mpirun within the second that it leaves. Epochs are long here, so the signal comes in one."""
    run_dir = RunDir(tmp_path / "run")
    with started(train(launcher, run_dir.path, *LONG, "--num-songs", "60000"), timeout_s=330) as job:
        job.wait_for("epoch  1/", timeout_s=240)
        time.sleep(0.6)
        job.signal(number)
        finished = job.wait(30)
    if launcher == "mpirun" and "saved after" not in finished.output:  # a busy machine: the second was over before
        assert finished.code != 0, finished
        assert "The last checkpoint is complete" in finished.output, finished
        assert checkpoint.load(run_dir.last).state.epoch >= 1
        return
    # mpirun has an exit code of its own after a signal.
    saved_in_mid_epoch(finished, run_dir, code=128 + number if launcher == "alone" else finished.code)
    assert finished.code != 0
    assert f"stopped by {number.name}" in finished.output, finished


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "after_s"), [("mpirun", 0.0), ("alone", 2.0), ("mpirun", 4.0)])
def test_a_warning_before_anything_is_loaded_ends_it_soon(launcher: str, after_s: float, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with started(train(launcher, run_dir, *LONG), timeout_s=330) as job:
        deadline = time.monotonic() + 60
        while not (found := ranks(job)) or not all(map(handles_a_warning, found.values())):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(after_s)
        for process in found.values():
            process.send_signal(signal.SIGUSR1)
        finished = job.wait(90)
    assert finished.code == TO_BE_CONTINUED, finished
    assert "Traceback" not in finished.output, finished
    assert "Nothing had to be saved" in finished.output or GO_ON in finished.output, finished


@pytest.mark.slow
def test_a_job_that_is_warned_now_and_then_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    whole, run_dir = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    with started(train("mpirun", whole.path, *SHORT), timeout_s=330) as job:
        assert job.wait(200).code == 0, job.output
    sessions = 0
    while not run_dir.done.exists():
        sessions += 1
        assert sessions < 12
        flags = [HVD_TRAIN, "train", "--resume", run_dir.path]
        command = mpirun(2, *flags) if run_dir.last.exists() else train("mpirun", run_dir.path, *SHORT)
        with started(command, timeout_s=330) as job:
            job.wait_for("run       ", timeout_s=100)
            if sessions < 5:
                time.sleep(sessions / 2)  # the first before a step, the later ones at steps or saves
                if job.process.poll() is None:
                    os.kill(job.pid, signal.SIGUSR1)
            assert job.wait(100).code in (0, TO_BE_CONTINUED), job.output
    assert sessions > 1
    for ours, theirs in ((run_dir.last, whole.last), (run_dir.best, whole.best)):
        one, other = checkpoint.load(ours), checkpoint.load(theirs)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one.variables, other.variables, strict=True))
    assert rows(run_dir.metrics) == rows(whole.metrics)


def rows(path: Path) -> list[dict[str, str]]:
    """metrics.csv without times."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_s")} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_an_ensemble_saves_its_member(tmp_path: Path) -> None:
    command = [HVD_TRAIN, "ensemble", "--members", "2", "--recipe", "debug", "--run-dir", str(tmp_path / "e"), *LONG]
    with started(mpirun(2, *command), timeout_s=330) as job:
        is_in_an_epoch(job)
        os.kill(job.pid, signal.SIGUSR1)
        finished = job.wait(30)
    assert finished.code == TO_BE_CONTINUED, finished
    assert "go on with the same command" in finished.output, finished
    assert list((tmp_path / "e" / "members").glob("*/checkpoints/last.npz"))


@pytest.mark.parametrize("verb", ["bench", "tune"])
def test_a_program_that_saves_nothing_ends_with_a_message(verb: str, tmp_path: Path) -> None:
    command = [HVD_TRAIN, verb, "--recipe", "debug", "--np", "1", "--out", str(tmp_path / "out")]
    with started(command, timeout_s=60) as job:
        deadline = time.monotonic() + 30
        while len(job.processes()) < 2:  # what it measures has been started
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGUSR1)
        finished = job.wait(40)
    assert finished.code == 128 + signal.SIGUSR1, finished
    assert "stopped by SIGUSR1" in finished.output, finished
    assert not finished.left_behind, finished
