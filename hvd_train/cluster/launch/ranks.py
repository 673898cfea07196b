"""The ranks of `hvd-train launch`: one keeper for each, started here or by ssh, and one end for all.

The first rank that fails ends the others and is named. A signal to the launcher goes to every rank. When the launcher itself
is killed, each keeper notices and ends its rank.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hvd_train.cluster.launch import keeper
from hvd_train.cluster.supervise.allocation import THIS_MACHINE, Allocation, place
from hvd_train.cluster.supervise.command import exported
from hvd_train.cluster.supervise.hosts import SSH, is_here
from hvd_train.distributed import tf_config_of
from hvd_train.errors import TO_BE_CONTINUED, MissingEnvironment, RankFailure, UserError
from hvd_train.hostfiles import Host
from hvd_train.processes import STOP_SIGNALS, WARNING_SIGNALS

# A keeper is there after a moment; an ssh that asks for a password never ends.
KEEPER_S = 30.0
# After the first failure the others have this long to say what they know of it. All ranks of a user's error end within 5 s.
LAST_WORDS_S = 7.0
# And where a rank has just named the one that was lost.
NAMED_S = 1.5
# From a signal of the user to SIGKILL.
END_S = 20.0
POLL_S = 0.05
LOOPBACK = "127.0.0.1"
# Whose ranks have said all: what the user can correct, another rank that was lost, a saved run.
SAID = (2, 3, RankFailure.exit_code, TO_BE_CONTINUED)
LAUNCH_ID = "HVD_TRAIN_LAUNCH"

Write = Callable[[int, str, bytes], None]
"""Takes the rank, "stdout" or "stderr", and what it wrote."""


def plan_ranks(allocation: Allocation, np: int | None) -> tuple[Host, ...]:
    """The host of each rank, the first hosts first. UserError where there are fewer slots than ranks."""
    ranks = allocation.slots if np is None else np
    if ranks < 1:
        raise UserError(f"--np {ranks}: at least one rank is started.")
    hosts = {str(host): host for host in allocation.hosts}
    if allocation.is_this_machine:
        return tuple(allocation.hosts[0] for _ in range(ranks))  # as many as the user asks for
    if ranks > allocation.slots:
        raise UserError(f"--np {ranks}: there are {allocation.slots} slots ({allocation.source}).")
    return tuple(hosts[name] for name, count in place(allocation.hosts, ranks).items() for _ in range(count))


@dataclass
class Rank:
    """One rank: its keeper here, or the ssh to it."""

    number: int
    host: Host
    process: subprocess.Popen[bytes]
    port: int = 0
    readers: list[threading.Thread] = field(default_factory=list)

    def __str__(self) -> str:
        name = socket.gethostname() if self.host.name == THIS_MACHINE else self.host.name
        return f"rank {self.number} on host {name}"

    def tell(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def let_go(self) -> None:
        """Its keeper ends it."""
        with contextlib.suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.close()


class Launch:
    """A command on several ranks. `run` starts it and returns its exit code."""

    def __init__(
        self,
        allocation: Allocation,
        hosts: Sequence[Host],
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        write: Write,
        tell: Callable[[str], None],
    ) -> None:
        self._allocation, self._hosts, self._command, self._environment = allocation, hosts, command, environment
        self._write, self._tell = write, tell
        self._ranks: list[Rank] = []
        self._signal = 0
        self._signalled_at = 0.0

    def run(self) -> int:
        """Start all ranks and wait for their end. Signals go to the ranks meanwhile. Main thread."""
        before = {number: signal.signal(number, self._pass_on) for number in (*STOP_SIGNALS, *WARNING_SIGNALS)}
        try:
            self._start_keepers()
            if self._signal:
                return 128 + self._signal
            self._start_ranks()
            return self._wait()
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: object) -> None:
        if number in STOP_SIGNALS:
            if self._signal:  # the second time: at once
                number = signal.SIGKILL
            self._signal = self._signal or number
            self._signalled_at = self._signalled_at or time.monotonic()
        for rank in self._ranks:
            rank.tell(str(int(number)))

    def _start_keepers(self) -> None:
        for number, host in enumerate(self._hosts):
            process = subprocess.Popen(
                self._keeper_command(host),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=dict(self._environment),
                start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which passes it on
            )
            self._ranks.append(Rank(number, host, process))
        limit = threading.Timer(KEEPER_S, self._end_all)
        limit.daemon = True
        limit.start()
        try:
            for rank in self._ranks:
                rank.port = self._greeted(rank, time.monotonic())
        finally:
            limit.cancel()

    def _keeper_command(self, host: Host) -> list[str]:
        own = [sys.executable, "-I", str(Path(keeper.__file__).resolve())]
        if is_here(host.name):
            return own
        line = shlex.join(own)
        scheduler, agent = self._allocation.scheduler, self._allocation.agent
        if scheduler is not None and (command := scheduler.run_on_host(host.name, line)):
            return command
        return [*(shlex.split(agent.command) if agent and not agent.script else SSH), str(host), line]

    def _greeted(self, rank: Rank, started: float) -> int:
        assert rank.process.stdout is not None
        assert rank.process.stderr is not None
        while line := rank.process.stdout.readline().decode(errors="replace"):
            if line.startswith(keeper.GREETING):
                return int(line.removeprefix(keeper.GREETING))
        said = rank.process.stderr.read().decode(errors="replace").strip() if rank.process.poll() is not None else ""
        why = said or f"no answer within {KEEPER_S:.0f} s"
        raise MissingEnvironment(
            f"{rank} cannot be started: {' '.join(why.split())}. `ssh {rank.host} true` has to work without a password, and "
            f"{sys.executable} has to be there, too."
        )

    def _start_ranks(self) -> None:
        alone = all(is_here(host.name) for host in self._hosts)
        names = [LOOPBACK if alone else f"[{host.name}]" if host.is_ipv6 else host.name for host in self._hosts]
        addresses = [f"{name}:{rank.port}" for name, rank in zip(names, self._ranks, strict=True)]
        job = {LAUNCH_ID: uuid.uuid4().hex}
        passed_on = {name: self._environment[name] for name in exported(self._environment)}
        for rank in self._ranks:
            environment = {**passed_on, **job, "TF_CONFIG": tf_config_of(addresses, rank.number)}
            rank.tell(json.dumps({"command": list(self._command), "environment": environment, "folder": os.getcwd()}))
            for name, stream in (("stdout", rank.process.stdout), ("stderr", rank.process.stderr)):
                reader = threading.Thread(target=self._copy, args=(rank.number, name, stream), daemon=True)
                reader.start()
                rank.readers.append(reader)

    def _copy(self, number: int, name: str, stream: IO[bytes]) -> None:
        """Pass the output of a rank on, as it comes: a progress bar has no line ends."""
        while content := os.read(stream.fileno(), 1 << 16):
            self._write(number, name, content)

    def _wait(self) -> int:
        """Until all have ended. Returns the code of the first that failed, else 0."""
        first: tuple[Rank, int] | None = None
        failed_at = 0.0
        while any(rank.process.poll() is None for rank in self._ranks):
            now = time.monotonic()
            if first is None:
                first = self._first_failed()
                failed_at = now
            elif now - failed_at > (NAMED_S if first[1] == RankFailure.exit_code else LAST_WORDS_S):
                break
            if self._signal and now - self._signalled_at > END_S:
                break
            time.sleep(POLL_S)
        first = first or self._first_failed()
        self._end_all()
        if self._signal:
            return 128 + self._signal
        if first is None:
            return 0
        rank, code = first
        if code not in SAID:
            self._tell(f"{rank} was the first to end, {ending(code)}. The others were ended.")
        return code

    def _first_failed(self) -> tuple[Rank, int] | None:
        ended = [(rank, code) for rank in self._ranks if (code := rank.process.poll())]
        # Of several in one look: who was killed comes before who noticed it.
        return min(ended, key=lambda pair: pair[1] == RankFailure.exit_code, default=None)

    def _end_all(self) -> None:
        """Let every keeper end its rank, and wait for it. Leaves no process behind."""
        for rank in self._ranks:
            rank.tell(str(int(signal.SIGKILL)))
            rank.let_go()
        for rank in self._ranks:
            try:
                rank.process.wait(keeper.LEAVE_S + 1)
            except subprocess.TimeoutExpired:  # an ssh to a host that is gone
                rank.process.kill()
                rank.process.wait()
            for reader in rank.readers:
                reader.join(1.0)
            for stream in (rank.process.stdout, rank.process.stderr):
                if stream is not None:
                    stream.close()


def ending(code: int) -> str:
    """How a rank ended, in words.

    >>> ending(137), ending(1)
    ('with exit code 137 (SIGKILL)', 'with exit code 1')
    """
    name = ""
    with contextlib.suppress(ValueError):
        name = f" ({signal.Signals(abs(code) - 128 if code > 0 else -code).name})" if code > 128 or code < 0 else ""
    return f"with exit code {code}{name}"
