"""Two hosts on one machine: network namespaces with an address, a name, an sshd, cores and local files of their own each.

Needs root, `ip netns`, unshare and sshd: `why_not` tells what is missing. Both hosts have a docker0 with the same
address, which real machines have too, and where MPI would find itself instead of its peer. A host can be cut off, and
lose its power as a whole:

    with two_hosts(folder) as lab, lab.running(0, "mpirun", ..., timeout_s=60) as job:
        lab.cut(1)              # the cable of host 1 is out. `lab.plug(1)` puts it back
        lab.power_off(1)        # every process of host 1 is gone, without a word to anyone. `lab.boot(1)` starts it again
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from processes import BIN, REPOSITORY, SHARED_MEMORY, Job, started

NAMES = ("hosta", "hostb")
PORT = 2200
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# The private network alone: docker0 has the same address on both hosts.
INTERFACE = {
    "OMPI_MCA_btl_tcp_if_include": "10.77.0.0/24",
    "OMPI_MCA_oob_tcp_if_include": "10.77.0.0/24",
}
# Open MPI puts its files where it does by default, which is another place on each host.
OWN_PLACES = {"OMPI_MCA_orte_tmpdir_base": None, "OMPI_MCA_btl_vader_backing_directory": None}
LIFETIME_S = 7200.0
ENDS_WITHIN_S = 5.0

# Enter a host: its name, files, shared memory and hosts file, then the command.
ENTER = """
hostname "$1" && mount --bind "$2" "$3" && mount --bind "$4" /dev/shm && mount --bind "$5" /etc/hosts && shift 5 && exec "$@"
"""


def system(*command: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20, check=False)
    assert not ok or done.returncode == 0, f"{command}: {done.stderr}"
    return done


@dataclass
class Lab:
    """Two hosts. `local` is a path that leads to other files on each of them, as on machines that share none."""

    namespaces: tuple[str, str]
    switch: str
    """The namespace of what is between them."""
    root: Path
    shared_memory: Path
    """Has a folder for each host, which is /dev/shm there."""
    _servers: dict[int, contextlib.ExitStack] = field(default_factory=dict)

    @property
    def local(self) -> Path:
        return self.root / "local"

    def files(self, host: int) -> Path:
        """What `local` is on host 0 or 1, seen from outside."""
        return self.root / NAMES[host]

    def places(self, host: int) -> tuple[Path, Path]:
        """The folders for temporary files and for shared memory of host 0 or 1, seen from outside."""
        return self.root / f"tmp-{NAMES[host]}", self.shared_memory / NAMES[host]

    def command(self, host: int, *command: str | Path) -> list[str]:
        """`command` on host 0 or 1."""
        setting = [NAMES[host], self.files(host), self.local, self.places(host)[1], self.root / "hosts"]
        enter = ["ip", "netns", "exec", self.namespaces[host], "taskset", "--cpu-list", cores_of(host)]
        return [*enter, "unshare", "--uts", "--mount", "bash", "-c", ENTER, "bash", *map(str, [*setting, *command])]

    @contextlib.contextmanager
    def running(self, host: int, *command: str | Path, timeout_s: float) -> Iterator[Job]:
        path = f"{self.root / 'bin'}:{BIN}:{os.environ['PATH']}"
        files = {"XDG_CACHE_HOME": str(self.local / "cache"), "TMPDIR": str(self.places(host)[0])}
        env = {**INTERFACE, **OWN_PLACES, **files, "PATH": path}
        with started(self.command(host, *command), timeout_s=timeout_s, env=env, cwd=REPOSITORY) as job:
            yield job

    def processes(self, host: int) -> list[psutil.Process]:
        """Every process on host 0 or 1, its sshd too."""
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
        for stack in self._servers.values():
            stack.close()


def cores_of(host: int) -> str:
    """Half of the cores for each host, as Linux lists them.

    Hosts never share cores. Where two do, Linux 6.18 lets a rank that polls MPI in one session (sched_yield in a loop)
    keep a core from a rank of another session for minutes, and the job may not even start.
    """
    cpus = sorted(os.sched_getaffinity(0))
    half = -(-len(cpus) // 2)
    return ",".join(map(str, cpus[half:] if host and len(cpus) > 1 else cpus[:half]))


def why_not() -> str:
    """Why two hosts cannot be made here, or an empty string."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    missing = [name for name in ("ip", "taskset", "unshare", "ssh", "ssh-keygen") if shutil.which(name) is None]
    if missing or SSHD is None:
        return f"not installed here: {', '.join([*missing, *(['sshd'] if SSHD is None else [])])}"
    name = f"hvdtry{os.getpid()}"
    # All that `wire` needs: a kernel may have namespaces and neither of the two kinds of device.
    trial = (
        ("netns", "add", name),
        ("-n", name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"),
        ("-n", name, "link", "add", "docker0", "type", "bridge"),
    )
    try:
        for arguments in trial:
            refused = system("ip", *arguments, ok=False)
            if refused.returncode:
                return f"this machine refuses `ip {' '.join(arguments)}`: {refused.stderr.strip()}"
    finally:
        system("ip", "netns", "del", name, ok=False)
    return ""


@contextlib.contextmanager
def two_hosts(root: Path) -> Iterator[Lab]:
    """Both hosts, with their files below `root`, for as long as the block runs."""
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(tempfile.TemporaryDirectory(prefix="hvd_train-hosts-", dir=SHARED_MEMORY))
        a, b, switch = (f"hvd{os.getpid()}{which}" for which in "abs")
        lab = Lab((a, b), switch, root, Path(shared))
        stack.enter_context(run_sshd())
        for namespace in (*lab.namespaces, switch):
            system("ip", "netns", "add", namespace)
            stack.callback(system, "ip", "netns", "del", namespace, ok=False)
        wire(lab)
        prepare_ssh(lab)
        stack.callback(lab.shut_down)
        for host in (0, 1):
            lab.boot(host)
        yield lab


def wire(lab: Lab) -> None:
    """A cable from each host to a switch, and on each an interface that only looks like another way."""
    system("ip", "-n", lab.switch, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
    system("ip", "-n", lab.switch, "link", "set", "bridge", "up")
    for number, namespace in enumerate(lab.namespaces):
        port = f"port{number}"
        system(
            "ip", "link", "add", "lan0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", lab.switch
        )
        system("ip", "-n", lab.switch, "link", "set", port, "master", "bridge")
        system("ip", "-n", lab.switch, "link", "set", port, "up")
        system("ip", "-n", namespace, "link", "add", "docker0", "type", "bridge")
        for device, address in (("lan0", f"10.77.0.{number + 1}/24"), ("docker0", "172.17.0.1/16")):
            system("ip", "-n", namespace, "addr", "add", address, "dev", device)
            system("ip", "-n", namespace, "link", "set", device, "up")
        system("ip", "-n", namespace, "link", "set", "lo", "up")


def prepare_ssh(lab: Lab) -> None:
    keys = lab.root / "keys"
    for folder in (keys, lab.local, lab.root / "bin", *(f for h in (0, 1) for f in (lab.files(h), *lab.places(h)))):
        folder.mkdir()
    for name in (*NAMES, "user"):
        system("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
    known = [f"[{name}]:{PORT} {(keys / f'{name}.pub').read_text()}" for name in NAMES]
    (keys / "known_hosts").write_text("".join(known))
    (lab.root / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 hosta\n10.77.0.2 hostb\n")
    # What would stand in ~/.ssh/config. horovodrun asks for StrictHostKeyChecking=no; the first word on it counts.
    config = f"Host {' '.join(NAMES)}\n  Port {PORT}\n  User root\n  IdentityFile {keys}/user\n  BatchMode yes\n"
    (lab.root / "config").write_text(config + f"  UserKnownHostsFile {keys}/known_hosts\n")
    ssh = f"{shutil.which('ssh')} -F {lab.root}/config -o StrictHostKeyChecking=yes"
    (lab.root / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {ssh} "$@"\n')
    (lab.root / "bin" / "ssh").chmod(0o755)


@contextlib.contextmanager
def run_sshd() -> Iterator[None]:
    """The folder that sshd wants, there as long as the hosts are."""
    folder = Path("/run/sshd")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    yield
    if made:
        with contextlib.suppress(OSError):  # somebody else's hosts
            folder.rmdir()


def sshd_command(lab: Lab, host: int) -> list[str]:
    keys = lab.root / "keys"
    options = {
        "ListenAddress": f"10.77.0.{host + 1}",
        "Port": PORT,
        "HostKey": keys / NAMES[host],
        "AuthorizedKeysFile": keys / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "SetEnv": f"TMPDIR={lab.places(host)[0]}",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    assert SSHD is not None
    return [SSHD, "-D", "-e", "-f", "/dev/null", *flags]
