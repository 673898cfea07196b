"""Two hosts on one machine: network namespaces with an address, a name, an sshd, cores and local files of their own each.

Needs root, `ip netns`, unshare and sshd; skipped, saying so, elsewhere. Both hosts have a docker0 with the same address,
which real machines have too, and where MPI would find itself instead of its peer.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import BIN, REPOSITORY, Finished, Job, started

NAMES = ("hosta", "hostb")
PORT = 2200
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# The private network alone: docker0 has the same address on both hosts.
INTERFACE = {
    "OMPI_MCA_btl_tcp_if_include": "10.77.0.0/24",
    "OMPI_MCA_oob_tcp_if_include": "10.77.0.0/24",
}
ENDS_WITHIN_S = 30.0
# Four ranks that start on two cores which others use too.
SLOW_S = 180.0


def system(*command: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20, check=False)
    assert not ok or done.returncode == 0, f"{command}: {done.stderr}"
    return done


@dataclass
class Lab:
    """Two hosts. `local` is a path that leads to other files on each of them, as on machines that share none."""

    namespaces: tuple[str, str]
    root: Path

    @property
    def local(self) -> Path:
        return self.root / "local"

    def files(self, host: int) -> Path:
        """What `local` is on host 0 or 1, seen from outside."""
        return self.root / NAMES[host]

    def command(self, host: int, *command: str | Path) -> list[str]:
        """`command` on host 0 or 1."""
        script = (
            f'hostname {NAMES[host]} && mount --bind "$1" "$2" && mount --bind "$3" /etc/hosts && shift 3 && exec "$@"'
        )
        setting = [str(self.files(host)), str(self.local), str(self.root / "hosts")]
        enter = ["ip", "netns", "exec", self.namespaces[host], "taskset", "--cpu-list", cores_of(host)]
        return [*enter, "unshare", "--uts", "--mount", "bash", "-c", script, "bash", *setting, *map(str, command)]

    @contextlib.contextmanager
    def running(self, host: int, *command: str | Path, timeout_s: float) -> Iterator[Job]:
        path = f"{self.root / 'bin'}:{BIN}:{os.environ['PATH']}"
        env = {**INTERFACE, "PATH": path, "XDG_CACHE_HOME": str(self.local / "cache")}
        with started(self.command(host, *command), timeout_s=timeout_s, env=env, cwd=REPOSITORY) as job:
            yield job


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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := why_not():
        pytest.skip(reason)
    lab = Lab((f"hvd{os.getpid()}a", f"hvd{os.getpid()}b"), tmp_path_factory.mktemp("lab"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(run_sshd())
        for namespace in lab.namespaces:
            system("ip", "netns", "add", namespace)
            stack.callback(system, "ip", "netns", "del", namespace, ok=False)
        wire(lab)
        prepare_ssh(lab)
        for host in (0, 1):
            stack.enter_context(sshd(lab, host))
        yield lab


def wire(lab: Lab) -> None:
    """One cable between the two, and on each an interface that only looks like another way."""
    a, b = lab.namespaces
    system("ip", "link", "add", "lan0", "netns", a, "type", "veth", "peer", "name", "lan0", "netns", b)
    for number, namespace in enumerate(lab.namespaces, 1):
        for device, address in (("lan0", f"10.77.0.{number}/24"), ("docker0", "172.17.0.1/16")):
            if device == "docker0":
                system("ip", "-n", namespace, "link", "add", device, "type", "bridge")
            system("ip", "-n", namespace, "addr", "add", address, "dev", device)
            system("ip", "-n", namespace, "link", "set", device, "up")
        system("ip", "-n", namespace, "link", "set", "lo", "up")


def prepare_ssh(lab: Lab) -> None:
    keys = lab.root / "keys"
    for folder in (keys, lab.local, lab.root / "bin", lab.files(0), lab.files(1)):
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


def unlike(lab: Lab) -> Path:
    """`hvd-train` as it computes on hosts of unlike CPUs: on hostb by other kernels of OpenBLAS, NumPy and oneDNN."""
    from numpy._core import _multiarray_umath as umath

    levels = " ".join(name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name])
    other = {
        "OPENBLAS_CORETYPE": "Prescott",
        "OPENBLAS_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": levels,
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    }
    exports = "\n".join(f"    export {name}='{value}'" for name, value in other.items() if value)
    program = lab.root / "bin" / "unlike"
    program.write_text(f'#!/bin/sh\nif [ "$(hostname)" = hostb ]; then\n{exports}\nfi\nexec {BIN}/hvd-train "$@"\n')
    program.chmod(0o755)
    return program


@contextlib.contextmanager
def run_sshd() -> Iterator[None]:
    """The folder that sshd wants, there as long as the hosts are."""
    folder = Path("/run/sshd")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    yield
    if made:
        folder.rmdir()


@contextlib.contextmanager
def sshd(lab: Lab, host: int) -> Iterator[None]:
    keys = lab.root / "keys"
    options = {
        "ListenAddress": f"10.77.0.{host + 1}",
        "Port": PORT,
        "HostKey": keys / NAMES[host],
        "AuthorizedKeysFile": keys / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    assert SSHD is not None
    with lab.running(host, SSHD, "-D", "-e", "-f", "/dev/null", *flags, timeout_s=600) as server:
        server.wait_for("Server listening", timeout_s=10)
        yield


FLAGS = [
    "train",
    "--recipe",
    "debug",
    "--num-songs",
    "20000",
    "--steps-per-execution",
    "1",
    "--early-stopping-patience",
    "0",
    "--transform",
    "quantile",
    "--whiten",
]


@pytest.mark.timeout(480)
def test_two_hosts_train_then_the_root_moves_and_then_the_link_is_cut(lab: Lab) -> None:
    run_dir = lab.local / "run"
    # Named, because looking for the common interface takes horovodrun minutes where docker0 answers on both.
    hosts = ["-np", "4", "-H", "hosta:2,hostb:2", "--network-interfaces", "lan0"]
    # A job of unlike CPUs: the same data, weights and first layers on both.
    program = unlike(lab)
    command = [BIN / "horovodrun", *hosts, program, *FLAGS, "--num-epochs", "1", "--run-dir", run_dir]
    with lab.running(0, *command, timeout_s=SLOW_S) as job:
        assert_well(job.wait(SLOW_S))
    assert len(metrics(lab.files(0) / "run")) == 1
    assert not (lab.files(1) / "run").exists(), "the root alone writes the run"
    # No shared file system: each host made the data for itself.
    made = [list((lab.files(host) / "cache").rglob("metadata.json")) for host in (0, 1)]
    assert all(made), made
    first, second = (json.loads(found[0].read_text()) for found in made)
    assert first["checksum"] == second["checksum"]
    assert first["optimum"] != second["optimum"], "the hosts compute alike: the test says nothing"

    # The root moves to the other host, to which somebody has taken the run.
    shutil.move(lab.files(0) / "run", lab.files(1) / "run")
    hostfile = lab.root / "hostfile"
    hostfile.write_text("hostb slots=1\nhosta slots=1\n")
    command = [BIN / "mpirun", "-np", "2", "--hostfile", hostfile, "--bind-to", "none"]
    command += [program, "train", "--resume", run_dir, "--num-epochs", "500"]
    with lab.running(1, *command, timeout_s=SLOW_S + 60) as job:
        job.wait_for("epoch  2/500", timeout_s=SLOW_S)
        # mpirun's keepalive (scripts/mpi.env) notices; the program's own watchdog takes longer by default.
        system("ip", "-n", lab.namespaces[0], "link", "set", "lan0", "down")
        began = time.monotonic()
        finished = job.wait(ENDS_WITHIN_S + 5)
        seconds = time.monotonic() - began
    assert finished.code != 0
    assert seconds < ENDS_WITHIN_S, f"{seconds:.0f} s"
    assert re.search(r"lost communication with a remote daemon[^=]*on node hosta", finished.output), str(finished)
    assert f"The last checkpoint is complete: {run_dir}" in finished.output, str(finished)
    assert (lab.files(1) / "run" / "checkpoints" / "last.npz").is_file()


def metrics(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_well(finished: Finished) -> None:
    assert finished.code == 0, str(finished)
