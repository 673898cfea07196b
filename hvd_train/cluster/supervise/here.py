"""The real surroundings of a supervisor: this machine."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from hvd_train.cluster.supervise.chatter import Chatter
from hvd_train.cluster.supervise.leftovers import MARK, sweep
from hvd_train.cluster.supervise.surroundings import Answer
from hvd_train.cluster.supervise.watch import STOPS, WARNINGS
from hvd_train.processes import is_launcher_command, jobs, oom_kills

# A line without its end is passed on after so long: somebody may wait for an answer to it.
PARTIAL_LINE_S = 0.2
MOST_PARALLEL = 64
# Waits for the end of this process, which holds the other end of its standard input. Then it ends the launcher ($1), which
# ends its ranks, and after five seconds what is left. The kernel's own way, PR_SET_PDEATHSIG, sends a signal for each thread of
# this process, and mpirun drops everything at a second SIGTERM.
GUARD = """read -r _; kill -TERM "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; kill -0 "$1" 2>/dev/null || break; done
kill -KILL "$1" 2>/dev/null; """


class Here:
    """Made by `here`, which has the signals come to it."""

    def __init__(self, reader: int) -> None:
        self._reader = reader

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> Sequence[int]:
        ready, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        if not ready:
            return ()
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._reader, 256) if number in (*WARNINGS, *STOPS)]
        return ()

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, local_ranks: bool) -> StartedRanks:
        return StartedRanks(command, environment, local_ranks=local_ranks)

    def ask(self, commands: Mapping[str, Sequence[str]], limit_s: float) -> Mapping[str, Answer]:
        if not commands:
            return {}
        with ThreadPoolExecutor(min(len(commands), MOST_PARALLEL)) as pool:
            return dict(
                zip(commands, pool.map(lambda command: self.run(command, limit_s), commands.values()), strict=True)
            )

    def run(self, command: Sequence[str], limit_s: float) -> Answer:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Answer(None, f"{command[0]}: {error.strerror or error}")
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()
            return Answer(None, f"no answer within {limit_s:g} s")
        return Answer(process.returncode, output.decode(errors="replace").strip())

    def oom_kills(self) -> int | None:
        return oom_kills()


@contextlib.contextmanager
def here() -> Iterator[Here]:
    """This machine. While the block runs, signals come to `Here.wait`. Main thread only."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    previous: dict[int, Any] = {}
    for number in map(int, (*WARNINGS, *STOPS, signal.SIGCHLD)):
        # nohup has SIGHUP ignored, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            previous[number] = signal.signal(number, lambda *_: None)
    try:
        yield Here(reader)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(previous_fd)
        os.close(reader)
        os.close(writer)


class StartedRanks:
    """A launcher in a session of its own. It ends when this process dies, whatever ends it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, local_ranks: bool) -> None:
        self._local_ranks = local_ranks
        self._program = next((part for part in command if part.endswith("/hvd-train")), command[-1])
        self._chatter = Chatter()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
        self._guard = start_guard(self._process.pid, environment.get(MARK, ""))
        self._reader = threading.Thread(target=self._pass_on, name="hvd_train stderr", daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is None:
            return None
        end_guard(self._guard)
        # What the ranks said last is read before their end is judged; what they left behind may hold it open.
        self._reader.join(1.0)
        return 128 - code if code < 0 else code

    def signal(self, number: int) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        jobs.kill(self._process)

    def seen(self) -> bool | None:
        if not self._local_ranks:
            return None
        with contextlib.suppress(psutil.Error):
            return any(map(self._is_rank, psutil.Process(self._process.pid).children(recursive=True)))
        return False

    def _is_rank(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            return (
                process.status() != psutil.STATUS_ZOMBIE
                and self._program in command
                and not is_launcher_command(command)
            )
        return False

    @property
    def said(self) -> str:
        return self._chatter.said

    @property
    def named(self) -> frozenset[str]:
        return frozenset(self._chatter.named)

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        descriptor, partial = self._process.stderr.fileno(), b""
        while True:
            ready, _, _ = select.select([descriptor], [], [], PARTIAL_LINE_S if partial else None)
            if not ready:
                if not self._chatter.holds and not partial.startswith(b"----"):
                    _write(partial)
                    partial = b""
                    continue
                ready, _, _ = select.select([descriptor], [], [])
            data = os.read(descriptor, 65536)
            *lines, partial = (partial + data).split(b"\n")
            for line in lines:
                _write(
                    self._chatter.feed(line.decode(errors="surrogateescape") + "\n").encode(errors="surrogateescape")
                )
            if not data:
                _write(self._chatter.rest().encode(errors="surrogateescape") + partial)
                self._process.stderr.close()
                return


def start_guard(pid: int, mark: str) -> subprocess.Popen[bytes]:
    """A process that ends the launcher when this process has died."""
    script = GUARD + (sweep(mark, to_begin=False) if mark else "true")
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "hvd-train-guard", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end_guard(guard: subprocess.Popen[bytes]) -> None:
    """It is no longer needed."""
    if guard.poll() is None:
        guard.kill()
        guard.wait()
    if guard.stdin:
        guard.stdin.close()


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(sys.stderr.fileno() if sys.__stderr__ else 2, data) :]
