"""The first process of the laboratory's room, and of each host in it. Started by lab.py with `unshare`; not a program of its own.

    machines.py room FOLDER NAME...      a network, and a host for each name
    machines.py host FOLDER NAME         a host: its name, users, /tmp, /run, /dev/shm and control groups

All of them live in the room's namespaces. The kernel ends and forgets everything when the room's first process ends.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from control_groups import TOP, hierarchies, join
from waits import wait_until

NETWORK = "10.77.0"
FIRST_ADDRESS = 10


def system(*command: str | Path, pass_fds: tuple[int, ...] = ()) -> None:
    subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL, pass_fds=pass_fds)


def room(folder: Path, names: list[str]) -> None:
    system("ip", "link", "add", "lan", "type", "bridge")
    for link in ("lo", "lan"):
        system("ip", "link", "set", link, "up")
    groups = (folder / "groups").read_text().split()
    for number, name in enumerate(names, FIRST_ADDRESS):
        flags = ["--net", "--uts", "--ipc", "--mount", "--cgroup", "--pid", "--fork", "--mount-proc"]
        program = [sys.executable, __file__, "host", str(folder), name]
        process = subprocess.Popen(
            ["unshare", *flags, "--kill-child=KILL", "--propagation", "private", *program],
            preexec_fn=functools.partial(join, groups, name),
        )
        wait_until(functools.partial(_has_own_network, process.pid), f"the network of {name}")
        cable = ["link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)]
        system("ip", *cable)
        system("ip", "link", "set", f"to-{name}", "master", "lan", "up")
        # Whole or not at all: the host reads it as soon as it is there.
        draft = folder / f".address.{name}"
        draft.write_text(f"{NETWORK}.{number}/24")
        draft.rename(folder / f"address.{name}")
    bury_children()


def host(folder: Path, name: str) -> None:
    socket.sethostname(name)
    wait_until((folder / f"address.{name}").exists, "its address")
    for command in (
        "link set lo up",
        f"addr add {(folder / f'address.{name}').read_text()} dev eth0",
        "link set eth0 up",
    ):
        system("ip", *command.split())
    for file in (folder / "etc").iterdir():
        system("mount", "--bind", file, Path("/etc") / file.name)
    own_files((folder / "visible").read_text().splitlines())
    own_groups()
    (folder / f"ready.{name}").touch()
    bury_children()


def own_files(visible: list[str]) -> None:
    """Folders of this host alone. The paths in `visible` stay, and any user can reach them."""
    # Opened first: what a path led to stays within reach when its folder is covered.
    opened = {path: os.open(path, os.O_PATH) for path in visible}
    closed = {parent for path in visible for parent in Path(path).parents if not parent.stat().st_mode & 0o001}
    first = [parent for parent in closed if not closed & set(parent.parents)]
    for cover, mode in [*((parent, "755") for parent in first), (Path("/tmp"), "1777")]:
        system("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", cover)
        for path, file in opened.items():
            if cover in Path(path).parents:
                Path(path).mkdir(parents=True, exist_ok=True)
                # As it is: mount would follow the link by name, to the cover.
                system("mount", "--no-canonicalize", "--bind", f"/proc/self/fd/{file}", path, pass_fds=(file,))
    for folder, mode in (("/run", "755"), ("/dev/shm", "1777")):
        system("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", folder)
    Path("/run/lock").mkdir()
    Path("/run/lock").chmod(0o1777)


def own_groups() -> None:
    """The hierarchies of control groups begin at this host, as on a machine."""
    wanted = [names for names, _ in hierarchies()]
    if not wanted:
        return
    system("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", TOP)
    for names in wanted:
        place = TOP / names
        place.mkdir()
        system("mount", "-t", "cgroup", "-o", names, "cgroup", place)
        for name in set(names.split(",")) - {names}:
            (place.parent / name).symlink_to(names)


def bury_children() -> None:
    """What a first process does: wait for every process whose parent has ended. Until SIGTERM."""
    waited_for = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        if signal.sigwait(waited_for) == signal.SIGTERM:
            return


def _has_own_network(process: int) -> bool:
    return os.readlink(f"/proc/{process}/ns/net") != os.readlink("/proc/self/ns/net")


if __name__ == "__main__":
    kind, place, *rest = sys.argv[1:]
    if kind == "room":
        room(Path(place), rest)
    else:
        host(Path(place), rest[0])
