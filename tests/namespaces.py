"""Hosts on one machine: network namespaces with an address, a name, an sshd, cores and local files of their own each.

Needs root, `ip netns`, unshare and sshd: `why_not` tells what is missing. All hosts have a docker0 with the same
address, which real machines have too, and where MPI would find itself instead of its peer. A host can be cut off, and
lose its power as a whole, and the links between hosts can have a rate:

    with hosts_in(folder, 2, mbit_per_s=1000) as lab:
        with lab.running(0, *lab.mpirun(1, "hvd-train", "train"), timeout_s=60) as job:
            lab.cut(1)          # the cable of host 1 is out. `lab.plug(1)` puts it back
            lab.power_off(1)    # every process of host 1 is gone, without a word to anyone. `lab.boot(1)` starts it again
            lab.limit(10_000)   # from now on the links have 10 Gbit/s
            lab.traffic(0).sent # bytes that host 0 has sent so far
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from host_setup import limiter, prepare_ssh, run_sshd, sshd_command, system, why_not, wire
from processes import BIN, REPOSITORY, SHARED_MEMORY, Job, started

NAMES = ("hosta", "hostb", "hostc", "hostd")
# The private network alone: docker0 has the same address on both hosts.
INTERFACE = {
    "OMPI_MCA_btl_tcp_if_include": "10.77.0.0/24",
    "OMPI_MCA_oob_tcp_if_include": "10.77.0.0/24",
}
# Open MPI puts its files where it does by default, which is another place on each host.
OWN_PLACES = {"OMPI_MCA_orte_tmpdir_base": None, "OMPI_MCA_btl_vader_backing_directory": None}
LIFETIME_S = 7200.0
ENDS_WITHIN_S = 5.0

__all__ = ["INTERFACE", "NAMES", "OWN_PLACES", "Lab", "Traffic", "hosts_in", "why_not"]

# Enter a host: its name, files, shared memory and hosts file, then the command.
ENTER = """
hostname "$1" && mount --bind "$2" "$3" && mount --bind "$4" /dev/shm && mount --bind "$5" /etc/hosts && shift 5 && exec "$@"
"""


@dataclass(frozen=True)
class Traffic:
    """Bytes over the interface of a host since it was made, with all headers."""

    sent: int
    received: int


def share_of_cores(host: int, num_hosts: int) -> str:
    """The cores of one of several hosts on this machine, as Linux lists them.

    Hosts share none where there are enough. Where two do, Linux 6.18 lets a rank that polls MPI in one session
    (sched_yield in a loop) keep a core from a rank of another session for minutes, and the job may not even start.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if num_hosts > len(cpus):
        return str(cpus[host % len(cpus)])
    first, last = (len(cpus) * n // num_hosts for n in (host, host + 1))
    return ",".join(map(str, cpus[first:last]))


@dataclass
class Lab:
    """The hosts. `local` is a path that leads to other files on each of them, as on machines that share none."""

    namespaces: tuple[str, ...]
    switch: str
    """The namespace of what is between them."""
    root: Path
    shared_memory: Path
    """Has a folder for each host, which is /dev/shm there."""
    _servers: dict[int, contextlib.ExitStack] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES[: len(self.namespaces)]

    @property
    def oversubscribed(self) -> bool:
        """Whether hosts share cores, because there are fewer than hosts."""
        return len(self.namespaces) > len(os.sched_getaffinity(0))

    @property
    def local(self) -> Path:
        return self.root / "local"

    def files(self, host: int) -> Path:
        """What `local` is on this host, seen from outside."""
        return self.root / NAMES[host]

    def places(self, host: int) -> tuple[Path, Path]:
        """The folders for temporary files and for shared memory of this host, seen from outside."""
        return self.root / f"tmp-{NAMES[host]}", self.shared_memory / NAMES[host]

    def cores(self, host: int) -> str:
        """The cores of this host, as Linux lists them."""
        return share_of_cores(host, len(self.namespaces))

    def mpirun(
        self, ranks_per_host: int, *command: str | Path, options: tuple[str, ...] = (), env: Mapping[str, str] = {}
    ) -> list[str]:
        """The command on as many ranks of each host, with `env` on all of them; for `running`."""
        where = ",".join(f"{name}:{ranks_per_host}" for name in self.names)
        exported = [word for name, value in env.items() for word in ("-x", f"{name}={value}")]
        launch = [str(BIN / "mpirun"), "-np", str(len(self.names) * ranks_per_host), "--host", where]
        return [*launch, "--bind-to", "none", "--map-by", "slot", *exported, *options, *map(str, command)]

    def command(self, host: int, *command: str | Path) -> list[str]:
        """`command` on this host."""
        setting = [NAMES[host], self.files(host), self.local, self.places(host)[1], self.root / "hosts"]
        enter = ["ip", "netns", "exec", self.namespaces[host], "taskset", "--cpu-list", self.cores(host)]
        return [*enter, "unshare", "--uts", "--mount", "bash", "-c", ENTER, "bash", *map(str, [*setting, *command])]

    @contextlib.contextmanager
    def running(self, host: int, *command: str | Path, timeout_s: float) -> Iterator[Job]:
        path = f"{self.root / 'bin'}:{BIN}:{os.environ['PATH']}"
        files = {"XDG_CACHE_HOME": str(self.local / "cache"), "TMPDIR": str(self.places(host)[0])}
        env = {**INTERFACE, **OWN_PLACES, **files, "PATH": path}
        with started(self.command(host, *command), timeout_s=timeout_s, env=env, cwd=REPOSITORY) as job:
            yield job

    def processes(self, host: int) -> list[psutil.Process]:
        """Every process on this host, its sshd too."""
        found = []
        for pid in system("ip", "netns", "pids", self.namespaces[host]).stdout.split():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(int(pid))
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def cut(self, host: int) -> None:
        """Pull out the cable of this host: it loses its carrier, and the other one hears nothing."""
        system("ip", "-n", self.switch, "link", "set", f"port{host}", "down")

    def plug(self, host: int) -> None:
        """Put the cable back."""
        system("ip", "-n", self.switch, "link", "set", f"port{host}", "up")

    def limit(self, mbit_per_s: float | None) -> None:
        """Give every link this rate, in each direction by itself; None takes the limit away."""
        ends = [(name, "lan0") for name in self.namespaces]
        ends += [(self.switch, f"port{host}") for host in range(len(self.namespaces))]
        for namespace, device in ends:
            system("tc", "-n", namespace, "qdisc", "del", "dev", device, "root", ok=False)
            if mbit_per_s is not None:
                system("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", *limiter(mbit_per_s))

    def traffic(self, host: int) -> Traffic:
        """What went over the interface of this host so far."""
        (line,) = json.loads(system("ip", "-n", self.namespaces[host], "-j", "-s", "link", "show", "lan0").stdout)
        return Traffic(line["stats64"]["tx"]["bytes"], line["stats64"]["rx"]["bytes"])

    def power_off(self, host: int) -> None:
        """End every process of this host, none of which says a word to the other one."""
        self.cut(host)
        deadline = time.monotonic() + ENDS_WITHIN_S
        while living := self.processes(host):  # again, for a child that was born in between
            for process in living:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            assert time.monotonic() < deadline, f"these processes cannot be ended: {living}"
            time.sleep(0.01)
        self._servers.pop(host).close()

    def boot(self, host: int) -> None:
        """Start this host: its sshd before its network, so that nobody who connects is refused.

        What was in its memory and among its temporary files is gone.
        """
        for folder in self.places(host):
            for path in folder.iterdir():
                path.unlink() if path.is_file() else shutil.rmtree(path)
        stack = self._servers[host] = contextlib.ExitStack()
        server = stack.enter_context(self.running(host, *sshd_command(self, host), timeout_s=LIFETIME_S))
        server.wait_for("Server listening", timeout_s=10)
        self.plug(host)

    def shut_down(self) -> None:
        """End the hosts. What sshd started is in sessions of its own, and outlives it."""
        for stack in self._servers.values():
            stack.close()
        for host in range(len(self.names)):
            for process in self.processes(host):
                with contextlib.suppress(psutil.Error):
                    process.kill()


@contextlib.contextmanager
def hosts_in(root: Path, num_hosts: int = 2, *, mbit_per_s: float | None = None) -> Iterator[Lab]:
    """So many hosts, with their files below `root`, for as long as the block runs. Their links have this rate, if any."""
    assert 1 <= num_hosts <= len(NAMES), num_hosts
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(tempfile.TemporaryDirectory(prefix="hvd_train-hosts-", dir=SHARED_MEMORY))
        namespaces = tuple(f"hvd{os.getpid()}{name[-1]}" for name in NAMES[:num_hosts])
        lab = Lab(namespaces, f"hvd{os.getpid()}s", root, Path(shared))
        stack.enter_context(run_sshd())
        for namespace in (*lab.namespaces, lab.switch):
            system("ip", "netns", "add", namespace)
            stack.callback(system, "ip", "netns", "del", namespace, ok=False)
        wire(lab)
        prepare_ssh(lab)
        stack.callback(lab.shut_down)
        lab.limit(mbit_per_s)
        for host in range(num_hosts):
            lab.boot(host)
        yield lab
