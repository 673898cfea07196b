"""Which hosts take part in the next start: those that answer, and that were not named again and again."""

from __future__ import annotations

import shlex
import socket
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from hvd_train.cluster.supervise.allocation import THIS_MACHINE, Allocation
from hvd_train.cluster.supervise.leftovers import sweep
from hvd_train.cluster.supervise.surroundings import Surroundings
from hvd_train.hostfiles import Host

ANSWER_S = 15.0
# So often named by the watchdog or the launcher without a new checkpoint in between.
MOST_NAMINGS = 2
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


def is_here(name: str) -> bool:
    """Whether this is a name of this machine."""
    own = socket.gethostname()
    return name in (THIS_MACHINE, "127.0.0.1", own) or name.split(".")[0] == own.split(".")[0]


class HostCheck:
    """Keeps which hosts are left out, and why."""

    def __init__(
        self, allocation: Allocation, world: Surroundings, *, agent: str, mark: str, tell: Callable[[str], None]
    ) -> None:
        self._allocation, self._world, self._agent, self._mark, self._tell = allocation, world, agent, mark, tell
        self._named: Counter[str] = Counter()
        self.excluded: dict[str, str] = {}
        """Host: why it is left out."""

    def named(self, names: Collection[str], *, new_checkpoint: bool) -> None:
        """These hosts were named at the end of a start."""
        if new_checkpoint:
            self._named.clear()
        for host in self._allocation.hosts:
            if any(same_host(name, host.name) for name in names):
                self._named[host.name] += 1

    def available(self, fewest: int = 1) -> tuple[Host, ...]:
        """The hosts for the next start. All are asked; a host that was silent and answers again is back.

        A host that answers is left out only where the others have slots for the `fewest` ranks.
        """
        before = dict(self.excluded)
        line = sweep(self._mark, to_begin=True)
        questions = {host.name: self._question(host, line) for host in self._allocation.hosts}
        answers = self._world.ask(questions, ANSWER_S)
        self.excluded = {
            name: f"it does not answer: {answer.output or f'exit code {answer.code}'}".replace("\n", " ")
            for name, answer in answers.items()
            if answer.code != 0
        }
        answering = [host for host in self._allocation.hosts if host.name not in self.excluded]
        often = [host.name for host in answering if self._named[host.name] >= MOST_NAMINGS]
        # Somewhere the ranks have to run.
        if sum(host.slots for host in answering if host.name not in often) >= fewest:
            self.excluded |= dict.fromkeys(often, f"its ranks died or fell silent {MOST_NAMINGS} times")
        for name in before.keys() - self.excluded.keys():
            self._tell(f"{name} answers again")
        for name in self.excluded.keys() - before.keys():
            self._tell(f"{name} is left out: {self.excluded[name]}")
        return tuple(host for host in self._allocation.hosts if host.name not in self.excluded)

    def clean(self) -> None:
        """Remove what the starts of this run left on the hosts that answered last."""
        line = sweep(self._mark, to_begin=False)
        hosts = [host for host in self._allocation.hosts if host.name not in self.excluded]
        self._world.ask({host.name: self._question(host, line) for host in hosts}, ANSWER_S)

    def _question(self, host: Host, line: str) -> Sequence[str]:
        scheduler = self._allocation.scheduler
        if is_here(host.name):
            return ["/bin/sh", "-c", line]
        if scheduler is not None and (command := scheduler.run_on_host(host.name, line)):
            return command
        if self._agent:
            return [*shlex.split(self._agent), str(host), f"/bin/sh -c {shlex.quote(line)}"]
        return [*SSH, str(host), line]


def same_host(name: str, other: str) -> bool:
    """Whether two names mean one host: mpirun and the watchdog cut names at the first dot."""
    if {name, other} & {THIS_MACHINE}:
        return is_here(name) and is_here(other)
    return name.split(".")[0].lower() == other.split(".")[0].lower()
