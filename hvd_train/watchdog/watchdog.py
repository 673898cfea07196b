"""The watchdog: ends a job whose rank is frozen, dead or asleep, and names the rank, its host and its last phase.

The stall check of Horovod detects a slow rank. It detects neither a stopped one (SIGSTOP, a swapped-out machine) nor a
host whose link is cut: such a job would hang forever. Here rank 0 listens on a TCP port. The others connect and report
their phase once a second. Rank 0 judges them and itself, and they judge rank 0.

    watchdog = Watchdog.start(rank=r, size=n, host=h, broadcast=..., limits=Limits(watchdog_s=60))   # all ranks
    watchdog.phase("step 120 of epoch 3", waits_for_others=True)    # costs nothing
    watchdog.close()                                                # all ranks, in any order

The network between the hosts must let the port of rank 0 through. A rank that cannot reach it warns and is not watched.
The messages are not encrypted: they hold host names and phases. A rank that joins has to prove that it knows the secret
of the job, which is never sent here. Where all ranks are on one host, the port is on loopback only.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

from hvd_train.errors import RankFailure
from hvd_train.events import RankState, Watch
from hvd_train.processes import KILLED, PATIENCE_S, OomWatch, end_launcher, end_process, leave
from hvd_train.text import printable
from hvd_train.watchdog.loop import How, Loop
from hvd_train.watchdog.member import MemberLoop
from hvd_train.watchdog.root import RootLoop
from hvd_train.watchdog.rules import LONGEST_PHASE, START, UNKNOWN_CAUSE, Beat, Limits, Verdict
from hvd_train.watchdog.wire import Address, listen

CLOSE_S = 3.0
# After the verdict of the root the launcher ends every rank. If it does not, a rank exits after this time.
LEFT_ALONE_S = 10.0


class Watchdog(Watch):
    """The watchdog of one rank. Make it with `start`."""

    def __init__(
        self,
        *,
        rank: int,
        size: int,
        host: str,
        limits: Limits | None = None,
        on_failure: Callable[[Verdict], None] | None = None,
        hint: Callable[[], str] | None = None,
        warn: Callable[[str], None] | None = None,
        one_host: bool = False,
    ) -> None:
        self.rank, self.size, self.host = rank, size, host
        self.limits = limits or Limits()
        self.address: Address = {}
        self._on_failure, self._hint, self._warn = on_failure, hint, warn or _write_warning
        self._one_host, self._oom = one_host, OomWatch()
        # Written by the trainer and read by the loop. A tuple is replaced atomically, so no lock is needed.
        self._place = (START, False, 0, time.monotonic())
        self._pulse = 0
        self._loop: Loop | None = None

    @classmethod
    def start(
        cls,
        *,
        rank: int,
        size: int,
        host: str,
        broadcast: Callable[[Address], Address],
        limits: Limits | None = None,
        on_failure: Callable[[Verdict], None] | None = None,
        hint: Callable[[], str] | None = None,
        warn: Callable[[str], None] | None = None,
        one_host: bool = False,
    ) -> Watchdog:
        """Start the watch. All ranks: `broadcast` is a collective that returns the object of rank 0 everywhere.

        `on_failure` is called once, in the thread of the watchdog, on the rank that reports the failure. By default it
        ends the process with the message and exit code 4. `hint` adds a sentence to the message (where the last
        checkpoint is). `warn` takes a line for the user. With `one_host`, all ranks are on one host and only loopback
        is used. A job of one rank has no thread and no port, and does not call `broadcast`.
        """
        watchdog = cls(
            rank=rank,
            size=size,
            host=host,
            limits=limits,
            on_failure=on_failure,
            hint=hint,
            warn=warn,
            one_host=one_host,
        )
        if size > 1:
            if rank == 0:
                watchdog.lead()
            address = broadcast(watchdog.address)
            if rank != 0:
                watchdog.follow(address)
        return watchdog

    def lead(self, port: int = 0) -> Address:
        """Rank 0: listen, and return the address for the others. It is empty for a job of one rank, and where no port is free."""
        if self.size > 1:
            try:
                listener, self.address = listen(self.host, port, one_host=self._one_host)
            except OSError as error:
                self.warn(
                    f"rank 0 on host {self.host} cannot open a port for the watchdog ({error}); nobody watches this job."
                )
                return {}
            self._run(RootLoop(self, listener, self.address))
        return self.address

    def follow(self, address: Address) -> None:
        """The other ranks: join the root at `address`, in the background. With an empty address there is no watch."""
        if self.size > 1 and address:
            self.address = address
            self._run(MemberLoop(self, address))

    def _run(self, loop: Loop) -> None:
        self._loop = loop
        loop.start()
        # A regular exit is no failure, also where close() was forgotten.
        atexit.register(self.close)

    def phase(self, where: str, *, waits_for_others: bool) -> None:
        """Where this rank is ("step 120 of epoch 3", "after step 35 of epoch 6"), and whether it waits for others there.

        A phase that takes longer than stall_s in good health calls `phase` or `progress` now and then.
        """
        self._place = (where, waits_for_others, self._place[2], time.monotonic())
        self._pulse += 1

    def progress(self, step: int) -> None:
        """A step was finished; `step` counts from the beginning of the run."""
        where, waits, _, _ = self._place
        self._place = (where, waits, step, time.monotonic())
        self._pulse += 1

    def ranks(self) -> Sequence[RankState]:
        """On rank 0 each rank that has reported itself, by rank; elsewhere none. Any thread."""
        if self.rank != 0:
            return ()
        beats = self._loop.judge.beats() if self._loop is not None else {0: self.beat()}
        return [
            RankState(rank=rank, host=beat.host, phase=beat.phase, step=beat.step, cpu_s=beat.cpu_s)
            for rank, beat in sorted(beats.items())
        ]

    def close(self) -> None:
        """This rank has ended in good order. Any order of ranks, any number of times."""
        self._say("finished")
        if self._loop is not None and self._loop is not threading.current_thread():
            self._loop.join(CLOSE_S)
        atexit.unregister(self.close)
        self._loop = None

    def failed(self, error: str) -> None:
        """This rank fails with a message of its own and is about to exit, so no other rank has to report it."""
        self._say("failed", error)

    def stopping(self) -> None:
        """A signal stops this rank. It judges no other rank any more, and its exit is no failure."""
        self._say("stopping")

    def _say(self, how: How, error: str = "") -> None:
        if self._loop is not None:
            self._loop.order(how, error)

    def beat(self) -> Beat:
        """For the loop: where this rank is now."""
        self._oom.renew()
        where, waits, step, since = self._place
        return Beat(
            host=self.host,
            phase=where[:LONGEST_PHASE],
            waits_for_others=waits,
            step=step,
            pulse=self._pulse,
            idle_s=round(time.monotonic() - since, 1),
            cpu_s=round(time.process_time(), 3),
        )

    def cause(self) -> str:
        """For the loop: what may have ended a rank that died without a message."""
        return KILLED if self._oom.happened() else UNKNOWN_CAUSE

    def report(self, verdict: Verdict) -> None:
        """For the loop: the job has to end, and this rank reports it."""
        (self._on_failure or self._end)(verdict)

    def doomed(self) -> None:
        """For the loop: the root has reported a verdict, so this rank exits without a message."""
        if self._on_failure is None:
            self.will_end()
            timer = threading.Timer(LEFT_ALONE_S, leave, args=(RankFailure.exit_code,))
            timer.daemon = True
            timer.start()

    def will_end(self, within_s: float = 0.0) -> None:
        """For the loop: the job has to end, and some rank reports why within `within_s`.

        One rank of each host also ends mpirun, if it is on that host.
        """
        if self._on_failure is None and os.environ.get("OMPI_COMM_WORLD_LOCAL_RANK", "0") == "0":
            end_launcher(within_s + PATIENCE_S)

    def warn(self, message: str) -> None:
        """For the loop: something that the user should know."""
        with contextlib.suppress(Exception):
            self._warn(message)

    def _end(self, verdict: Verdict) -> None:
        hint = ""
        if self._hint is not None:
            with contextlib.suppress(Exception):
                hint = " " + self._hint()
        end_launcher()
        end_process(f"error: {verdict.message}; ending the job.{hint}", RankFailure.exit_code)


def _write_warning(message: str) -> None:
    with contextlib.suppress(OSError):
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2,
            f"warning: {printable(message)}\n".encode(errors="replace"),
        )
