#!/opt/hvd_train/bin/python
"""One job on the hosts of a cluster, from its first host: `hvd-job --np 4 --hosts node1:2,node2:2 COMMAND ...`.

Looks first whether the job can start (slots, names, ssh), runs horovodrun, and sees to it that it ends: SIGINT and
SIGTERM go to all of it, and when every rank of this host has ended but mpirun still waits for a host that is frozen or
cut off, it is ended too. The exit code is horovodrun's; 2 for what could not start; 4 for a host that was lost.

    hvd-job --stop       end the job that runs here, from another process of this container
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

import psutil

from hvd_train.processes.launcher import is_launcher

PID_FILE = Path("/tmp/hvd-job.pid")
SSH_LIMIT_S = 20.0
# Ranks that ended by themselves and mpirun: how long it may take to notice; and how long anything may take to stop.
LOST_S = 6.0
STOP_S = 10.0
LOOK_EVERY_S = 0.5
# mpirun's, on several hosts: [1,RANK]<stdout>: in front of each line.
TAG = re.compile(r"\[1,(\d+)\]<std(?:out|err)>: ?")
# What TensorFlow announces while horovodrun looks whether it is there; no log level silences it.
CHATTER = re.compile(r"absl::InitializeLog|port\.cc:.*oneDNN|cpu_feature_guard|^To enable the following instructions")


class CannotStart(Exception):
    """What was given, the rule, the way out."""


def parse_hosts(text: str) -> dict[str, int]:
    """ "node1:2,node2:2" -> slots by name."""
    hosts: dict[str, int] = {}
    for part in text.split(","):
        name, colon, slots = part.strip().rpartition(":")
        if not colon or not name or not slots.isdecimal() or int(slots) < 1:
            raise CannotStart(f"--hosts: {part.strip()!r} is not NAME:SLOTS, as in node1:2,node2:2")
        if name in hosts:
            raise CannotStart(f"--hosts: {name} stands there twice; write the sum of its slots once")
        hosts[name] = int(slots)
    return hosts


def check(np: int, hosts: dict[str, int]) -> None:
    """Refuse what would hang or fail obscurely later."""
    slots = sum(hosts.values())
    if np < 1 or np > slots:
        listed = ", ".join(f"{name}: {count}" for name, count in hosts.items())
        raise CannotStart(f"{np} ranks do not fit into {slots} slots ({listed}): ask for fewer, or for more hosts")
    for name in hosts:
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            raise CannotStart(
                f"host {name} has no address: is the name right, and does it belong to this cluster?"
            ) from None
    for name in hosts:
        command = ["ssh", "-o", f"ConnectTimeout={SSH_LIMIT_S:.0f}", name, "true"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SSH_LIMIT_S + 1, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            raise CannotStart(f"host {name} did not answer on ssh within {SSH_LIMIT_S:.0f} s") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise CannotStart(f"host {name} cannot be reached over ssh: {said}")


class Job:
    """horovodrun and everything under it on this host."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._asked_at: float | None = None
        self._ranks_seen = False
        self._ranks_gone_at: float | None = None

    def stop(self, number: int, _frame: FrameType | None = None) -> None:
        """Hand a signal on: mpirun ends the ranks of all hosts, who save what is theirs to save."""
        self._asked_at = self._asked_at or time.monotonic()
        mpirun = [p for p in self.below() if is_launcher(p)]
        for process in mpirun:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        if not mpirun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def below(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def must_end(self) -> str:
        """Why it has to be ended by force, or an empty string. Called every LOOK_EVERY_S."""
        now = time.monotonic()
        ranks = [p for p in self.below() if _is_rank(p)]
        self._ranks_seen = self._ranks_seen or bool(ranks)
        if ranks or not self._ranks_seen:
            self._ranks_gone_at = None
        elif self._ranks_gone_at is None:
            self._ranks_gone_at = now
        if self._ranks_gone_at is not None and now - self._ranks_gone_at > LOST_S:
            return "the ranks on this host have ended, but a host of the job does not answer any more"
        if self._asked_at is not None and now - self._asked_at > STOP_S:
            return f"it was told to stop and did not within {STOP_S:.0f} s"
        return ""

    def kill(self) -> None:
        """End whatever is left of it on this host."""
        everything = self.below()
        with contextlib.suppress(psutil.Error):
            everything.append(psutil.Process(self.process.pid))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for process in everything:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        psutil.wait_procs(everything, timeout=5)

    def close(self) -> None:
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def _is_rank(process: psutil.Process) -> bool:
    try:
        return "OMPI_COMM_WORLD_RANK" in process.environ() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def supervise(job: Job) -> int:
    """Wait for the end, handing on what the job says."""
    with selectors.DefaultSelector() as selector:
        for pipe, target in ((job.process.stdout, sys.stdout), (job.process.stderr, sys.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, Relay(target))
        looked_at = 0.0
        while True:
            code = job.process.poll()
            if not read_some(selector) and code is not None:
                return code if code >= 0 else 128 - code
            if time.monotonic() - looked_at > LOOK_EVERY_S:
                looked_at = time.monotonic()
                why = job.must_end()
                if why:
                    job.kill()
                    read_some(selector)
                    print(f"error: {why}; the job was ended.", file=sys.stderr, flush=True)
                    return 4


def read_some(selector: selectors.BaseSelector) -> bool:
    """Hand on what there is; False if there was nothing for a moment."""
    something = False
    for key, _ in selector.select(0.1):
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(key.fd, 1 << 16)
            key.data.pass_on(chunk)
            something = something or bool(chunk)
            if not chunk:
                selector.unregister(key.fileobj)
    if not selector.get_map():
        time.sleep(0.1)  # the job has closed its output and is about to end
    return something


class Relay:
    """Hands on whole lines: without chatter, and with mpirun's tag as a person would write it."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._held = b""

    def pass_on(self, data: bytes) -> None:
        """More of the stream; nothing at all is its end."""
        *lines, self._held = (self._held + data).split(b"\n")
        if not data and self._held:
            lines, self._held = [self._held], b""
        for line in lines:
            text = line.decode(errors="replace")
            tag = TAG.match(text)
            if tag:
                text = ("" if tag[1] == "0" else f"[rank {tag[1]}] ") + text[tag.end() :]
            if not CHATTER.search(text):
                self._target.write(text + "\n")
        self._target.flush()


def ask_to_stop() -> int:
    """End the job of this container, and wait for it."""
    try:
        process = psutil.Process(int(PID_FILE.read_text()))
        process.send_signal(signal.SIGINT)
        process.wait(STOP_S + 10)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return 0
    except psutil.TimeoutExpired:
        print("error: the job did not end", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--np", type=int, help="number of ranks")
    parser.add_argument("--hosts", help="NAME:SLOTS,NAME:SLOTS")
    parser.add_argument("--stop", action="store_true", help="end the job that runs here")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what each rank runs")
    given = parser.parse_args()
    if given.stop:
        return ask_to_stop()
    try:
        if given.np is None or not given.hosts or not given.command:
            raise CannotStart(
                "--np, --hosts and a command are needed: hvd-job --np 4 --hosts node1:2,node2:2 hvd-train train"
            )
        hosts = parse_hosts(given.hosts)
        check(given.np, hosts)
    except CannotStart as error:
        print(f"error: {error}.", file=sys.stderr)
        return 2
    job = Job(["horovodrun", "-np", str(given.np), "-H", given.hosts, *given.command])
    PID_FILE.write_text(str(os.getpid()))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, job.stop)
    try:
        return supervise(job)
    finally:
        with contextlib.suppress(OSError):
            PID_FILE.unlink()
        job.kill()
        job.close()


if __name__ == "__main__":
    sys.exit(main())
