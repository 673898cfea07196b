"""What a launcher tells about itself. Each is a small class; the methods are pure but for `shows_terminal`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from hvd_train.distributed.placement import Cluster, Placement
from hvd_train.errors import UnusableLauncher


class Launcher(ABC):
    """A program that starts ranks.

    To add one, write a subclass with a name, its variables and `detect`, and list it in `LAUNCHERS` (table.py). The other
    methods have a default that is right where the launcher does nothing of the kind.
    """

    name: ClassVar[str]
    """As messages call it."""
    rank_variable: ClassVar[str]
    """The variable that holds the rank in the environment of each of its processes."""
    job_variables: ClassVar[tuple[str, ...]] = ()
    """Variables with one value in all ranks of a job, and another in other jobs."""
    engines: ClassVar[tuple[str, ...]] = ("horovod",)
    """The engines that can join its ranks. The first is the default."""
    ctrl_c_signal: ClassVar[str] = "SIGINT"
    """The signal that its ranks get when the user presses Ctrl-C."""

    @abstractmethod
    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        """The placement of a rank with this environment, or None where another launcher or nothing started it."""

    def rank_in(self, environment: Mapping[str, str]) -> str:
        """The rank of a process with this environment, as text; empty where it is none of its ranks."""
        return environment.get(self.rank_variable, "")

    def cluster(self, environment: Mapping[str, str]) -> Cluster:
        """Where each rank listens, for engines that need to know it. Raises UserError where that is wrong or not known."""
        raise UnusableLauncher(f"{self.name} does not tell its ranks where the others listen.")

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """Whether it has bound this rank to cores, which then stay as they are."""
        return False

    def binds_by_default(self, environment: Mapping[str, str]) -> bool:
        """Whether it has bound this rank although nobody asked for that."""
        return False

    def refusal(self, environment: Mapping[str, str], prefix: str, engine: str) -> str | None:
        """Why the engine cannot join several ranks that it started so, with the way out. None where nothing is wrong."""
        return None

    def variables(self, prefix: str) -> dict[str, str]:
        """What must be in the environment of a rank before MPI starts.

        `prefix` is the root of this environment where Open MPI is installed in it, otherwise empty. Ranks that were
        started over ssh or from Spark die in MPI_Init unless OPAL_PREFIX names it.
        """
        return {"OPAL_PREFIX": prefix} if prefix else {}

    def is_process(self, command: Sequence[str]) -> bool:
        """Whether this is the command line of the launcher itself, which runs on one of the hosts."""
        return False

    def shows_terminal(self, parent: Path) -> bool:
        """Whether a terminal shows what this rank writes, byte by byte. `parent` is the folder in /proc of its parent process."""
        return False


def placement_of(launcher: str, host: str, rank: str, size: str, local_rank: str, local_size: str) -> Placement | None:
    """The placement that these values of variables describe; None where they are no numbers or contradict each other.

    A rank that knows nothing of its host counts as the only one there.
    """
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        return None
    knows_host = local_rank.isdecimal() and local_size.isdecimal()
    local = (int(local_rank), int(local_size)) if knows_host else (0, 1)
    return Placement(int(rank), int(size), *local, host=host, launcher=launcher)
