"""How a host between network namespaces is wired and gets its sshd: the parts of namespaces.py that run once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from namespaces import Lab

PORT = 2200
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# A link with a rate lets this pass at once after a pause: what it carries in BURST_S, and in any case one packet of veth,
# which has 64 KiB and the headers of 46 frames. A larger one than the bucket would be cut up, at seven times the CPU time.
BURST_S = 200e-6
LEAST_BURST_BYTES = 72_000
# Packets wait in the link's queue and are never dropped: what a pair of sockets has under way at most.
QUEUE_BYTES = 32_000_000


def system(*command: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20, check=False)
    assert not ok or done.returncode == 0, f"{command}: {done.stderr}"
    return done


def limiter(mbit_per_s: float) -> list[str]:
    """The queue that gives a link its rate: a token bucket."""
    burst = max(LEAST_BURST_BYTES, round(mbit_per_s * 1e6 / 8 * BURST_S))
    return ["tbf", "rate", f"{mbit_per_s:g}mbit", "burst", str(burst), "limit", str(QUEUE_BYTES)]


def why_not(*, limited: bool = False) -> str:
    """Why hosts (with `limited` links) cannot be made here, or an empty string."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    needed = ("ip", "taskset", "unshare", "ssh", "ssh-keygen", *(("tc",) if limited else ()))
    missing = [name for name in needed if shutil.which(name) is None]
    if missing or SSHD is None:
        return f"not installed here: {', '.join([*missing, *(['sshd'] if SSHD is None else [])])}"
    name = f"hvdtry{os.getpid()}"
    # All that `wire` needs: a kernel may have namespaces and neither of the two kinds of device, nor token buckets.
    trial = [
        ("ip", "netns", "add", name),
        ("ip", "-n", name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"),
        ("ip", "-n", name, "link", "add", "docker0", "type", "bridge"),
    ]
    if limited:
        trial.append(("tc", "-n", name, "qdisc", "add", "dev", "lan0", "root", *limiter(1000)))
    try:
        for arguments in trial:
            refused = system(*arguments, ok=False)
            if refused.returncode:
                return f"this machine refuses `{' '.join(arguments)}`: {refused.stderr.strip()}"
    finally:
        system("ip", "netns", "del", name, ok=False)
    return ""


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
    places = [folder for host in range(len(lab.names)) for folder in (lab.files(host), *lab.places(host))]
    for folder in (keys, lab.local, lab.root / "bin", *places):
        folder.mkdir()
    for name in (*lab.names, "user"):
        system("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
    known = [f"[{name}]:{PORT} {(keys / f'{name}.pub').read_text()}" for name in lab.names]
    (keys / "known_hosts").write_text("".join(known))
    addresses = [f"10.77.0.{number} {name}\n" for number, name in enumerate(lab.names, 1)]
    (lab.root / "hosts").write_text("".join(["127.0.0.1 localhost\n", *addresses]))
    # What would stand in ~/.ssh/config. horovodrun asks for StrictHostKeyChecking=no; the first word on it counts.
    config = f"Host {' '.join(lab.names)}\n  Port {PORT}\n  User root\n  IdentityFile {keys}/user\n  BatchMode yes\n"
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
        "HostKey": keys / lab.names[host],
        "AuthorizedKeysFile": keys / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "SetEnv": f"TMPDIR={lab.places(host)[0]}",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    assert SSHD is not None
    return [SSHD, "-D", "-e", "-f", "/dev/null", *flags]
