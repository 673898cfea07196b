"""If one rank fails, the job fails, fast, naming the rank, the host and the reason, and leaves no process behind."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import REPOSITORY, Finished, horovodrun, mpirun, run, started

FAILING = REPOSITORY / "tests" / "launch" / "failing.py"
HOST = socket.gethostname()
# Twice the limits given to the program, and the time that mpirun takes to end the others.
# Where else an exception may come, besides the middle of an epoch on rank 1.
ELSEWHERE = (("before-init", 1), ("data", 0), ("step-1", 1))
WATCHDOG_S, STALL_S = 4, 4
SOON_S = 30.0


def train(tmp_path: Path, how: str, rank: int, *, launcher: object = mpirun) -> list[str]:
    flags = [
        "train",
        "--recipe",
        "debug",
        "--num-epochs",
        "5000",
        "--steps-per-execution",
        "1",
        "--early-stopping-patience",
        "0",
    ]
    flags += ["--watchdog-s", str(WATCHDOG_S), "--stall-s", str(STALL_S), "--run-dir", str(tmp_path / "run")]
    return launcher(2, sys.executable, FAILING, how, rank, *flags)  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize(
    ("how", "rank"), [("mid-epoch", 1), *(pytest.param(how, rank, marks=pytest.mark.slow) for how, rank in ELSEWHERE)]
)
def test_an_exception_on_one_rank_ends_the_job_with_rank_host_and_cause(tmp_path: Path, how: str, rank: int) -> None:
    finished = run(train(tmp_path, how, rank), timeout_s=120, ok=False)
    assert re.search(rf"rank {rank} on host {HOST}.*ZeroDivisionError: the planted failure", finished.output), str(
        finished
    )
    # Nobody else has a story to tell.
    assert not re.search(rf"rank {1 - rank} on host {HOST} failed", finished.output), str(finished)


@pytest.mark.parametrize(
    ("how", "word", "rank"), [("freeze", "freezing", 1), pytest.param("sleep", "sleeping", 0, marks=pytest.mark.slow)]
)
def test_a_rank_that_freezes_or_sleeps_is_named_after_the_limit(tmp_path: Path, how: str, word: str, rank: int) -> None:
    with started(train(tmp_path, how, rank), timeout_s=180) as job:
        job.wait_for(word, timeout_s=120)
        began = time.monotonic()
        finished = job.wait(SOON_S)
        assert time.monotonic() - began >= min(WATCHDOG_S, STALL_S) - 1, "judged before the limit"
    assert finished.code != 0
    assert_named(finished, rank)
    assert not finished.left_behind, finished.left_behind


@pytest.mark.slow
def test_memory_that_runs_out_on_one_rank_is_called_that(tmp_path: Path) -> None:
    finished = run(train(tmp_path, "memory", 1), timeout_s=120, ok=False)
    assert (
        f"[rank 1 on host {HOST}] error: memory ran out (MemoryError). Give each rank less to hold" in finished.stderr
    )
    assert "Traceback" not in finished.output, str(finished)


def test_a_rank_that_freezes_while_it_starts_is_named(tmp_path: Path) -> None:
    """Before any watch is up, in Python's own start or in the import of TensorFlow; it cost 307 s, and no name."""
    with started(train(tmp_path, "none", 0), timeout_s=120) as job:
        while not (frozen := [p for p in job.processes() if p.environ().get("OMPI_COMM_WORLD_RANK") == "1"]):
            assert job.process.poll() is None, job.output
        time.sleep(0.8)
        frozen[0].suspend()
        finished = job.wait(WATCHDOG_S + SOON_S)
    assert finished.code == 4
    (message,) = [line for line in finished.stderr.splitlines() if "error: " in line]
    assert re.fullmatch(
        rf"error: rank 0 on host {HOST} waited \d+ s for all 2 ranks to start: rank 1 on host {HOST} "
        rf"\(process {frozen[0].pid}, which is stopped\) keeps the others waiting; ending the job.",
        message,
    )
    assert not finished.left_behind


def stock_horovodrun(np: int, *command: str | Path) -> list[str]:
    """The shell that an unchanged horovodrun turns into; the colon keeps the shell there, as the real one's stays."""
    words = shlex.join(map(str, command))
    return ["/bin/sh", "-c", f"mpirun --allow-run-as-root --tag-output -np {np} -bind-to none {words}; :"]


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        (horovodrun, signal.SIGTERM),
        pytest.param(horovodrun, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(stock_horovodrun, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_horovodrun_alone_ends_the_job(tmp_path: Path, launcher: Any, number: int) -> None:
    """As a supervisor, `kill PID` or Popen.terminate sends it: our horovodrun is mpirun itself, a stock one is a shell."""
    with started(train(tmp_path, "none", 0, launcher=launcher), timeout_s=180) as job:
        job.wait_for("epoch  2/5000", timeout_s=120)
        job.process.send_signal(number)
        assert job.process.wait(10) != 0
        deadline = time.monotonic() + 10
        while job.processes():
            assert time.monotonic() < deadline, job.output
            time.sleep(0.1)
        if launcher is stock_horovodrun:
            assert f"error: horovodrun (process {job.pid}), which started this job, was ended" in job.stderr
        if launcher is stock_horovodrun or number == signal.SIGTERM:  # a killed mpirun passes on no last words
            assert f"--resume {tmp_path / 'run'}" in job.stderr
        assert "died without a word" not in job.stderr


def test_an_mpirun_whose_shell_rightly_ended_goes_on(tmp_path: Path) -> None:
    """In the background of a shell that is gone, even where the command is as horovodrun writes it."""
    rank = "from hvd_train.processes.orphan import watch_horovodrun; watch_horovodrun(); import time; time.sleep(3); print('done')"
    command = f'mpirun --allow-run-as-root --tag-output -np 2 -bind-to none {sys.executable} -c "{rank}"'
    out = tmp_path / "out"
    with started(["/bin/sh", "-c", f"nohup {command} > {out} 2>&1 &"], timeout_s=60) as job:
        assert job.process.wait(10) == 0
        deadline = time.monotonic() + 40
        # Not its processes alone: the shell's child, between fork and exec, may not be found yet.
        while job.processes() or (said := out.read_text() if out.exists() else "").count("done") < 2:
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.1)
    assert said.count("done") == 2, said


def assert_named(finished: Finished, rank: int) -> None:
    errors = [line for line in finished.output.splitlines() if "error: " in line]
    assert any(f"rank {rank} on host {HOST}" in line for line in errors), str(finished)
    # A rank says once a second where it is: a frozen one was last heard somewhere before, in a step or in a validation.
    assert any(re.search(r"(last heard: |before: |at: |\()[\w ]*(step|epoch) \d", line) for line in errors), (
        "where it was is not said"
    )


@pytest.mark.slow
def test_a_killed_rank_is_named(tmp_path: Path) -> None:
    with started(train(tmp_path, "none", 0), timeout_s=180) as job:
        job.wait_for("epoch  1/5000", timeout_s=120)
        ranks = [p for p in job.processes() if p.environ().get("OMPI_COMM_WORLD_RANK") == "1"]
        ranks[-1].kill()
        finished = job.wait(SOON_S)
    assert finished.code != 0
    assert re.search(rf"rank 1 on host {HOST}", finished.output), str(finished)
    assert not finished.left_behind


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_all_ranks_and_prints_where_the_checkpoint_is(tmp_path: Path, number: int) -> None:
    with started(train(tmp_path, "none", 0, launcher=horovodrun), timeout_s=180) as job:
        job.wait_for("epoch  2/5000", timeout_s=120)
        job.signal(number)
        finished = job.wait(SOON_S)
    assert finished.code != 0
    assert str(tmp_path / "run" / "checkpoints" / "last.npz") in finished.output, str(finished)
    assert f"--resume {tmp_path / 'run'}" in finished.output
    # A rank that does not come back to Python within the grace time is ended with the shorter words. One that does saves.
    how = r"stopped by (SIGTERM from mpirun, which sends it on Ctrl-C, too(, saved after [\w ]+)?|a signal)\. The last checkpoint"
    assert re.search(how, finished.output), str(finished)
    assert "Traceback" not in finished.output
    assert not finished.left_behind


def test_one_rank_alone_ends_on_ctrl_c_too(tmp_path: Path) -> None:
    flags = [
        "--recipe",
        "debug",
        "--num-epochs",
        "500",
        "--early-stopping-patience",
        "0",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    with started(["hvd-train", "train", *flags], timeout_s=120) as job:
        job.wait_for("epoch  2/500", timeout_s=100)
        job.signal(signal.SIGINT)
        finished = job.wait(SOON_S)
    assert finished.code == 130
    assert "The last checkpoint is complete" in finished.stderr
    assert "Traceback" not in finished.output
