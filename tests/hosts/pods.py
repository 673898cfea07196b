"""Pods on one machine, for what the image does in an MPIJob: namespaces with a network, a name, files and processes each.

As on Kubernetes all of it runs as the user hvd (1000) without capabilities, the keys of the job are files of root that
anybody may read, and the end of the first process of a pod is the end of all its processes. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from namespaces import share_of_cores
from processes import BIN, REPOSITORY, Job, mpi_settings, started

LAUNCHER, WORKERS = "songs-launcher", ("songs-worker-0", "songs-worker-1")
PODS = (LAUNCHER, *WORKERS)
DOMAIN = "songs.default.svc"
NEEDED = ("ip", "unshare", "setpriv", "taskset", "ssh", "ssh-keygen")
READY_S = 15.0
# Open MPI puts its files where it does by default: /tmp and /dev/shm are those of the pod.
OWN_PLACES = ("OMPI_MCA_orte_tmpdir_base", "OMPI_MCA_btl_vader_backing_directory")
SSHD = Path("/usr/sbin/sshd")  # as in docker/hvd-entrypoint
# What a pod has of its own. A home of root hides its Python from other users, who are to find it where it is.
POD = """
set -eu
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount --bind "$2/passwd" /etc/passwd
mkdir -p "$2/$1"
if [ "$3" ]; then
    mount --bind "$3" "$2/$1"
    mount -t tmpfs -o mode=755 tmpfs /root
    mkdir -p "$3"
    mount --move "$2/$1" "$3"
fi
mount -t tmpfs -o mode=755 tmpfs /home
mkdir -p /home/hvd/.ssh
cp "$2"/keys/* /home/hvd/.ssh
chmod 644 /home/hvd/.ssh/*
chown 1000:1000 /home/hvd
mount --bind "$2" /mnt
for folder in /tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
mkdir "$2"
mount --move /mnt "$2"
cd /home/hvd
shift 3
exec setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def system(*command: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20, check=False)
    assert not ok or done.returncode == 0, f"{command}: {done.stderr}"
    return done


def why_not() -> str:
    """Why pods cannot be made here, or an empty string."""
    if os.geteuid() != 0:
        return "only root can make namespaces"
    missing = [name for name in NEEDED if shutil.which(name) is None] + ([] if SSHD.exists() else ["sshd"])
    if missing:
        return f"not installed here: {', '.join(missing)}"
    refused = system("unshare", "--net", "--mount", "ip", "link", "add", "pods", "type", "bridge", ok=False)
    return f"this machine refuses a bridge in a namespace: {refused.stderr.strip()}" if refused.returncode else ""


@dataclass
class Pods:
    """The pods of one MPIJob. `root` is the only folder that they share with each other, as /runs is."""

    prefix: str
    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def network(self, pod: str) -> str:
        return f"{self.prefix}{pod[-1]}"

    def command(self, pod: str, *command: str | Path) -> list[str]:
        """`command` as the first process of a pod."""
        closed = Path(os.path.realpath(sys.executable))
        hidden = closed.parents[-4] if closed.is_relative_to("/root") and len(closed.parents) > 3 else ""
        spaces = ["--uts", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
        enter = ["taskset", "--cpu-list", cores(pod), "ip", "netns", "exec", self.network(pod), "unshare", *spaces]
        return [*enter, "bash", "-c", POD, "pod", pod, str(self.root), str(hidden), *map(str, command)]

    @contextlib.contextmanager
    def running(
        self, pod: str, *command: str | Path, timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Iterator[Job]:
        """With the environment of the image, and nothing of this one."""
        path = f"{self.root / 'bin'}:{BIN}:/usr/local/bin:/usr/bin:/bin"
        kept: dict[str, str | None] = dict.fromkeys([*os.environ, *mpi_settings(), *OWN_PLACES])
        own = {"HOME": "/home/hvd", "PATH": path, "OPAL_PREFIX": str(BIN.parent), "PYTHONUNBUFFERED": "1"}
        with started(self.command(pod, *command), timeout_s=timeout_s, env={**kept, **own, **(env or {})}) as job:
            yield job

    @contextlib.contextmanager
    def worker(self, number: int, timeout_s: float) -> Iterator[Job]:
        """A worker that is ready: the operator starts the launcher then."""
        with self.running(WORKERS[number], "hvd-entrypoint", "mpijob-worker", timeout_s=timeout_s) as job:
            probe = [
                "ip",
                "netns",
                "exec",
                self.network(LAUNCHER),
                "bash",
                "-c",
                f"</dev/tcp/{address(WORKERS[number])}/2222",
            ]
            deadline = time.monotonic() + READY_S
            while system(*probe, ok=False).returncode:
                assert job.process.poll() is None, job.output
                assert time.monotonic() < deadline, job.output
                time.sleep(0.1)
            yield job

    def launch(
        self, *command: str | Path, timeout_s: float, env: Mapping[str, str] | None = None
    ) -> contextlib.AbstractContextManager[Job]:
        """`command` in the launcher, with the environment that the operator gives."""
        given = {
            "K_MPI_JOB_ROLE": "launcher",
            "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
            "OMPI_MCA_orte_default_hostfile": str(self.root / "hostfile"),
            "OMPI_MCA_orte_set_default_slots": "2",
            "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10",
        }
        return self.running(LAUNCHER, *command, timeout_s=timeout_s, env={**given, **(env or {})})


@contextlib.contextmanager
def pods() -> Iterator[Pods]:
    """The networks and the files of the pods. Root alone."""
    with contextlib.ExitStack() as stack:
        # POD expects it there.
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hvd_train-pods-", dir="/tmp")))
        made = Pods(f"hvdpod{os.getpid()}", root)
        write_files(root)
        switch = f"{made.prefix}s"
        system("ip", "netns", "add", switch)
        stack.callback(system, "ip", "netns", "del", switch, ok=False)
        system("ip", "-n", switch, "link", "add", "pods", "type", "bridge")
        system("ip", "-n", switch, "link", "set", "pods", "up")
        for pod in PODS:
            namespace, port = made.network(pod), pod[-8:]
            system("ip", "netns", "add", namespace)
            stack.callback(system, "ip", "netns", "del", namespace, ok=False)
            cable = ("type", "veth", "peer", "name", port, "netns", switch)
            system("ip", "link", "add", "eth0", "netns", namespace, *cable)
            system("ip", "-n", switch, "link", "set", port, "master", "pods", "up")
            system("ip", "-n", namespace, "addr", "add", f"{address(pod)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                system("ip", "-n", namespace, "link", "set", device, "up")
        yield made


def write_files(root: Path) -> None:
    root.chmod(0o755)
    for folder in ("keys", "bin", "runs"):
        (root / folder).mkdir()
        (root / folder).chmod(0o755)
    os.chown(root / "runs", 1000, 1000)
    # As the operator makes it: P-521, in PEM.
    system("ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-m", "PEM", "-N", "", "-f", root / "keys" / "id_rsa")
    shutil.copy(root / "keys" / "id_rsa.pub", root / "keys" / "authorized_keys")
    for name in ("ssh", "hvd-entrypoint"):
        shutil.copy(REPOSITORY / "docker" / name, root / "bin" / name)
        (root / "bin" / name).chmod(0o755)
    names = [f"{address(pod)} {pod}.{DOMAIN} {pod}\n" for pod in PODS]
    (root / "hosts").write_text("127.0.0.1 localhost\n" + "".join(names))
    (root / "hostfile").write_text("".join(f"{pod}.{DOMAIN} slots=2\n" for pod in WORKERS))
    (root / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\nhvd:x:1000:1000::/home/hvd:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    for path in (root / "hosts", root / "hostfile", root / "passwd"):
        path.chmod(0o644)


def cores(pod: str) -> str:
    """The launcher only waits, so it needs none of its own."""
    if pod == LAUNCHER:
        return ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return share_of_cores(WORKERS.index(pod), len(WORKERS))


def address(pod: str) -> str:
    return f"10.78.0.{PODS.index(pod) + 1}"
