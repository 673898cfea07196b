"""SIGINT and SIGTERM end a process in time, wherever its main thread is."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from processes import Finished, mpirun, started

# Where the main thread is when the signal comes.
IN_PYTHON = "import time; time.sleep(60)"
# As in a collective that never ends: C code that holds no GIL and that no signal interrupts.
IN_C = "import ctypes; c = ctypes.CDLL(None); m = ctypes.create_string_buffer(64)\nwhile True: c.pthread_mutex_lock(m)"
# Python prints and forgets what is raised in __del__ and in callbacks of weak references.
IN_DEL = """
class Held:
    def __del__(self):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass
held = Held()
del held
time.sleep(60)
"""
IN_CALLBACK = """
import weakref
class Held:
    pass
def wait():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass
held = Held()
weakref.finalize(held, wait)
del held
time.sleep(60)
"""
# The signal comes to another thread, so it ends no sleep of the main one: as if it came in the moment before the sleep.
IN_ANOTHER_THREAD = """
import signal, threading
def get_it():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), NUMBER)
threading.Thread(target=get_it).start()
time.sleep(60)
"""
SCRIPT = """
import sys, time
from hvd_train.processes.signals import Stopped, stop_handler

def told(number):
    sys.stderr.write(f"told {number}\\n")

def train():
    print("ready", flush=True)
    BODY

with stop_handler(lambda: "stopped; the last checkpoint is runs/x", grace_s=GRACE, on_signal=told) as stop:
    try:
        train()
    except Stopped as stopped:
        RELEASE
        print("caught", stopped, flush=True)
        AFTERWARDS
        sys.exit(stopped.exit_code)
"""
BOTH = [signal.SIGINT, signal.SIGTERM]


def script(
    directory: Path, body: str, *, release: str = "stop.release()", afterwards: str = "", grace_s: float = 0.5
) -> list[str | Path]:
    text = (
        SCRIPT.replace("GRACE", str(grace_s))
        .replace("RELEASE", release or "pass")
        .replace("AFTERWARDS", afterwards or "pass")
    )
    path = directory / "script.py"
    path.write_text(text.replace("    BODY\n", "".join(f"    {line}\n" for line in body.splitlines())))
    return [sys.executable, path]


def stop_it(command: list[str | Path], *signals: int) -> Finished:
    with started(command) as job:
        job.wait_for("ready", timeout_s=20)
        time.sleep(0.3)  # now the main thread is where it stays
        job.signal(signals[0])
        for number in signals[1:]:
            job.wait_for("caught", timeout_s=10)
            job.signal(number)
        finished = job.wait(10)
    assert "Traceback" not in finished.output, finished
    return finished


def test_code_whose_exceptions_python_ignores_does_not_hold_up_the_end(tmp_path: Path) -> None:
    body = "class Held:\n    def __del__(self):\n        while True:\n            pass\nheld = Held()\ndel held"
    finished = stop_it(script(tmp_path, body), signal.SIGTERM)
    assert finished.code == 143
    assert "stopped; the last checkpoint is runs/x" in finished.stderr, finished


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("body", [IN_DEL, IN_CALLBACK], ids=["__del__", "weakref"])
def test_stopped_is_raised_after_code_whose_exceptions_python_ignores(
    body: str, number: signal.Signals, tmp_path: Path
) -> None:
    finished = stop_it(script(tmp_path, body, grace_s=30), number)
    assert f"caught {number.name}" in finished.stdout, finished
    assert finished.code == 128 + number
    assert finished.stderr.count("told") == 1, finished


@pytest.mark.parametrize("number", BOTH)
def test_a_sleep_that_the_signal_does_not_end(number: signal.Signals, tmp_path: Path) -> None:
    body = IN_ANOTHER_THREAD.replace("NUMBER", str(int(number)))
    with started(script(tmp_path, body, grace_s=30)) as job:
        finished = job.wait(20)
    assert f"caught {number.name}" in finished.stdout, finished
    assert (finished.code, finished.stderr) == (128 + number, f"told {number:d}\n"), finished


@pytest.mark.parametrize("number", BOTH)
def test_in_python_the_main_thread_hears_and_ends_itself(number: signal.Signals, tmp_path: Path) -> None:
    finished = stop_it(script(tmp_path, IN_PYTHON), number)
    assert (finished.code, finished.stdout) == (128 + number, f"ready\ncaught {number.name}\n"), finished
    assert finished.stderr == f"told {number:d}\n"


@pytest.mark.parametrize("number", BOTH)
def test_in_c_code_the_process_ends_with_the_message(number: signal.Signals, tmp_path: Path) -> None:
    finished = stop_it(script(tmp_path, IN_C), number)
    assert finished.code == 128 + number, finished
    assert finished.stderr == f"told {number:d}\nstopped; the last checkpoint is runs/x\n"
    assert "caught" not in finished.stdout


def test_a_main_thread_that_released_may_take_its_time(tmp_path: Path) -> None:
    finished = stop_it(
        script(tmp_path, IN_PYTHON, afterwards="time.sleep(1.5); print('saved', flush=True)"), signal.SIGTERM
    )
    assert (finished.code, finished.stdout.splitlines()[-1]) == (143, "saved"), finished


def test_one_that_did_not_release_has_the_grace_alone(tmp_path: Path) -> None:
    finished = stop_it(script(tmp_path, IN_PYTHON, release="", afterwards="time.sleep(30)"), signal.SIGTERM)
    assert finished.code == 143, finished
    assert finished.stderr.endswith("stopped; the last checkpoint is runs/x\n")


def test_the_same_signal_again_ends_it_at_once_and_another_does_not(tmp_path: Path) -> None:
    command = script(tmp_path, IN_PYTHON, afterwards="time.sleep(1.5); print('saved', flush=True)")
    finished = stop_it(command, signal.SIGINT, signal.SIGINT)
    assert (finished.code, "saved" in finished.stdout) == (130, False), finished
    assert finished.stderr.endswith("stopped; the last checkpoint is runs/x\n")
    finished = stop_it(command, signal.SIGINT, signal.SIGTERM)
    assert (finished.code, "saved" in finished.stdout) == (130, True), finished


def test_a_message_that_cannot_be_made_and_a_stderr_that_nobody_reads(tmp_path: Path) -> None:
    command = script(tmp_path, IN_C)
    path = tmp_path / "script.py"
    path.write_text(path.read_text().replace('lambda: "stopped; the last checkpoint is runs/x"', "lambda: 1 / 0"))
    assert stop_it(command, signal.SIGTERM).stderr.endswith("stopped by SIGTERM (division by zero)\n")
    # A full pipe: the message cannot be written, the end comes all the same.
    fill = "import os\nreader, writer = os.pipe()\nos.set_blocking(writer, False)\ntry:\n    while os.write(writer, b'x' * 4096): pass\nexcept BlockingIOError: pass\nos.set_blocking(writer, True)\nos.dup2(writer, 2)\n"
    assert stop_it(script(tmp_path, fill + IN_C), signal.SIGTERM).code == 143


def test_what_was_there_before_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import signal, threading\n"
        "from hvd_train.processes.signals import stop_handler\n"
        "before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)\n"
        "for _ in range(3):\n"
        "    with stop_handler(lambda: ''): assert threading.active_count() == 2\n"
        "assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before\n"
        "assert signal.set_wakeup_fd(-1) == -1 and threading.active_count() == 1\n"
    )
    with started([sys.executable, path]) as job:
        assert job.wait(20).code == 0, job.output


@pytest.mark.parametrize("number", BOTH)
def test_ranks_under_mpirun_end_with_the_message_before_mpirun_kills(number: signal.Signals, tmp_path: Path) -> None:
    with started(mpirun(2, *script(tmp_path, IN_C))) as job:
        while job.stdout.count("ready") < 2:
            assert job.process.poll() is None, job.output
        time.sleep(0.3)
        job.process.send_signal(number)  # to mpirun alone, which sends SIGTERM on
        finished = job.wait(10)
    assert finished.code != 0
    # Both say it, but of ranks that end together mpirun may lose the last words of one.
    assert "stopped; the last checkpoint is runs/x" in finished.stderr, finished
