"""Where a supervised run is: this machine, or two hosts between network namespaces (tests/namespaces.py, as root)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import psutil
from namespaces import OWN_PLACES, Lab, hosts_in
from processes import BIN, Job, started

from hvd_train.processes import is_launcher_command

DAEMONS = ("orted", "prted")


class Place(Protocol):
    """What a fault needs of where the run is."""

    hosts: str
    """In words."""
    size: int
    job: Job | None
    root: Path

    @property
    def options(self) -> list[str]:
        """What `hvd-train supervise` needs to hear."""

    @property
    def mpirun(self) -> list[str]:
        """The plain mpirun of as many ranks."""

    def running(self, command: Sequence[str | Path], timeout_s: float) -> contextlib.AbstractContextManager[Job]: ...
    def processes(self) -> list[psutil.Process]: ...
    def leftovers(self) -> list[str]: ...
    def host_of(self, rank: int) -> int: ...
    def cut(self, host: int) -> None: ...
    def plug(self, host: int) -> None: ...
    def power_off(self, host: int) -> None: ...
    def boot(self, host: int) -> None: ...


class OneHost:
    """`size` ranks of this machine."""

    hosts = "one host"

    def __init__(self, root: Path, size: int) -> None:
        self.root, self.size = root, size
        self.job: Job | None = None

    @property
    def options(self) -> list[str]:
        return ["--np", str(self.size), "--min-ranks", str(self.size)]

    @property
    def mpirun(self) -> list[str]:
        return [str(BIN / "mpirun"), "-np", str(self.size), "--bind-to", "none"]

    @contextlib.contextmanager
    def running(self, command: Sequence[str | Path], timeout_s: float) -> Iterator[Job]:
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        with started(command, timeout_s=timeout_s, env={**OWN_PLACES, "TMPDIR": str(temporary)}) as job:
            self.job = job
            yield job

    def processes(self) -> list[psutil.Process]:
        return self.job.processes() if self.job else []

    def leftovers(self) -> list[str]:
        return files_below(self.root / "tmp")

    def host_of(self, rank: int) -> int:
        return 0

    def cut(self, host: int) -> None:
        raise NotImplementedError

    plug = power_off = boot = cut


class TwoHosts:
    """As many ranks on each of two hosts. The supervisor runs on the first."""

    hosts = "two hosts"

    def __init__(self, lab: Lab, ranks_per_host: int) -> None:
        self._lab, self._ranks_per_host = lab, ranks_per_host
        self.root, self.size = lab.root, 2 * ranks_per_host
        self.job: Job | None = None
        self.cut, self.plug, self.power_off, self.boot = lab.cut, lab.plug, lab.power_off, lab.boot

    @property
    def options(self) -> list[str]:
        hosts = ",".join(f"{name}:{self._ranks_per_host}" for name in self._lab.names)
        return ["--hosts", hosts, "--np", str(self.size), "--min-ranks", str(self.size)]

    @property
    def mpirun(self) -> list[str]:
        hostfile = self.root / "hostfile"
        hostfile.write_text("".join(f"{name} slots={self._ranks_per_host}\n" for name in self._lab.names))
        return [str(BIN / "mpirun"), "-np", str(self.size), "--hostfile", str(hostfile), "--bind-to", "none"]

    @contextlib.contextmanager
    def running(self, command: Sequence[str | Path], timeout_s: float) -> Iterator[Job]:
        with self._lab.running(0, *command, timeout_s=timeout_s) as job:
            self.job = job
            yield job

    def processes(self) -> list[psutil.Process]:
        return [p for host in (0, 1) for p in self._lab.processes(host) if not _is_sshd(p)]

    def leftovers(self) -> list[str]:
        return [left for host in (0, 1) for left in files_below(*self._lab.places(host))]

    def host_of(self, rank: int) -> int:
        return rank // self._ranks_per_host


def _is_sshd(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == "sshd"
    return True


@contextlib.contextmanager
def one_host(size: int) -> Iterator[OneHost]:
    with tempfile.TemporaryDirectory(prefix="hvd_train-kills-") as root:
        yield OneHost(Path(root), size)


@contextlib.contextmanager
def both_hosts(ranks_per_host: int) -> Iterator[TwoHosts]:
    with tempfile.TemporaryDirectory(prefix="hvd_train-kills-") as root, hosts_in(Path(root)) as lab:
        yield TwoHosts(lab, ranks_per_host)


def files_below(*folders: Path) -> list[str]:
    return [str(path) for folder in folders for path in sorted(folder.rglob("*")) if not path.is_dir()]


def launcher_in(processes: Sequence[psutil.Process]) -> psutil.Process | None:
    """The mpirun of the job."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if is_launcher_command(process.cmdline()):
                return process
    return None


def daemon_in(processes: Sequence[psutil.Process]) -> psutil.Process | None:
    """The daemon of mpirun on the other host."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.name() in DAEMONS:
                return process
    return None


def ranks_in(processes: Sequence[psutil.Process]) -> dict[int, psutil.Process]:
    """The ranks of the job by their number: what mpirun or its daemon started."""
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            number, parent = process.environ().get("OMPI_COMM_WORLD_RANK"), process.parent()
            if number is None or parent is None:
                continue
            if parent.name() in DAEMONS or is_launcher_command(parent.cmdline()):
                found[int(number)] = process
    return found
