"""What the supervisor needs of the world: the clock, signals, the ranks, other hosts and the commands of schedulers.

`Surroundings` is the seam: the tests give the supervisor another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Ranks(Protocol):
    """The ranks of one start, under their launcher."""

    def poll(self) -> int | None:
        """The launcher's exit code as a shell has it, 128 + a signal's number; None while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to the launcher, which passes SIGUSR1 on to its ranks and ends them on SIGTERM."""

    def kill(self) -> None:
        """End the launcher with everything that it started here. Returns when they are gone."""

    def seen(self) -> bool | None:
        """Whether a rank runs on this host; None where none is to be expected here."""

    @property
    def said(self) -> str:
        """The first error that a rank wrote, in words."""

    @property
    def named(self) -> frozenset[str]:
        """Hosts of ranks that died or fell silent, by the watchdog and the launcher."""


@dataclass(frozen=True)
class Answer:
    """What a command said. `code` is None where it did not end in time or could not be started."""

    code: int | None
    output: str


class Surroundings(Protocol):
    def now(self) -> float:
        """Seconds; only differences have a meaning."""

    def wait(self, seconds: float) -> Sequence[int]:
        """Wait, but return at once when a signal comes or the ranks end. The signals that have come."""

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, local_ranks: bool) -> Ranks: ...

    def ask(self, commands: Mapping[str, Sequence[str]], limit_s: float) -> Mapping[str, Answer]:
        """Run a command for each host, at once; the answers that came within `limit_s`."""

    def run(self, command: Sequence[str], limit_s: float) -> Answer:
        """Run a command of a scheduler."""

    def oom_kills(self) -> int | None:
        """How many processes the kernel's OOM killer has ended in this job."""
