"""A laboratory: three hosts on this machine, with a user, a shared file system, and real schedulers on them.

    tests/cluster/lab.py up [slurm] [gridengine]      start it, in seconds (default: these two)
    tests/cluster/lab.py up openpbs                   its qsub is another one: better in a laboratory of its own
    tests/cluster/lab.py on head -- squeue            a command as the user alice, in her home
    tests/cluster/lab.py on --root node1 -- ps aux    ... as root
    tests/cluster/lab.py down                         end everything and leave nothing

`head` takes jobs, `node1` and `node2` run them with two slots each. Only root can start it. The hosts are namespaces of
one process, in a folder of /tmp that has the name of this checkout. They see this checkout and its environment, and
share alice's home, which has the same path outside of the laboratory. `up` prints it. In tests: the fixtures of conftest.py.

Debian has Slurm and Grid Engine: scripts/cluster-packages.sh. scripts/openpbs.sh builds OpenPBS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import control_groups
import gridengine_site
import openpbs_site
import psutil
import slurm_site
from machines import FIRST_ADDRESS, NETWORK
from waits import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTS = ("head", "node1", "node2")
USER, USER_ID = "alice", 2001
SITES = {"slurm": slurm_site, "gridengine": gridengine_site, "openpbs": openpbs_site}
NAMESPACES = ("--net", "--uts", "--ipc", "--mount", "--pid", "--cgroup")
PROGRAMS = ("ip", "mount", "nsenter", "setpriv", "unshare")


def why_not(*sites: str) -> str:
    """Why there can be no laboratory with these schedulers here, or an empty string."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can make hosts out of namespaces"
    wanted = [*PROGRAMS, *(program for site in sites for program in SITES[site].PROGRAMS)]
    path = search_path(sites, os.environ.get("PATH", ""), "/usr/sbin", "/sbin")
    missing = [program for program in wanted if shutil.which(program, path=path) is None]
    if missing:
        return f"not installed here: {', '.join(missing)} ({'; '.join(SITES[site].INSTALL for site in sites)})"
    refused = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "mount", "-t", "tmpfs", "-", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"this machine refuses namespaces: {refused.stderr.strip()}" if refused.returncode else ""


@dataclass
class Lab:
    folder: Path
    """All files of the laboratory."""
    groups: tuple[str, ...] = ()
    """Its control groups, one in each hierarchy."""
    sites: Sequence[str] = ()
    """Its schedulers."""
    pids: Mapping[str, int] | None = None
    """The first process of the room, and of each host."""
    began: float = 0.0
    """When the room's first process was made: a pid alone may be somebody else's by now."""
    _unshare: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """The user's home, on the shared file system."""
        return self.folder / "home" / USER

    @classmethod
    def up(cls, folder: Path, sites: Sequence[str], *, stays: bool = False) -> Lab:
        """Start it. Without `stays` it ends with this process, even when this process is killed."""
        folder.mkdir(mode=0o755)
        lab = cls(folder, control_groups.make(HOSTS), sites)
        try:
            lab._start_hosts(stays)
            for site in sites:
                SITES[site].start(lab)
        except BaseException:
            lab.down()
            raise
        return lab

    def _start_hosts(self, stays: bool) -> None:
        write_files(self)
        flags = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--propagation", "private"]
        program = [sys.executable, Path(__file__).with_name("machines.py"), "room", self.folder, *HOSTS]
        until = [] if stays else ["setpriv", "--pdeathsig", "KILL"]
        with (self.folder / "log" / "hosts").open("wb") as log:
            room = self._unshare = subprocess.Popen(
                [*until, "unshare", *flags, *program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
                start_new_session=True,
            )
        self.pids, self.began = {"room": room.pid}, psutil.Process(room.pid).create_time()
        self._write_state()
        wait_until(
            lambda: room.poll() is not None or self._ready(), "the three hosts", log=self.folder / "log" / "hosts"
        )
        if room.poll() is not None:
            raise RuntimeError(f"the hosts did not start:\n{(self.folder / 'log' / 'hosts').read_text()}")
        for process in psutil.Process(room.pid).children(recursive=True):
            line = process.cmdline()
            if "host" in line and line[0] != "unshare":
                self.pids[line[-1]] = process.pid
        self._write_state()

    def _ready(self) -> bool:
        return all((self.folder / f"ready.{name}").exists() for name in HOSTS)

    def _write_state(self) -> None:
        state = {"groups": self.groups, "sites": self.sites, "pids": self.pids, "began": self.began}
        (self.folder / "state.new").write_text(json.dumps(state))
        (self.folder / "state.new").replace(self.folder / "state.json")

    @classmethod
    def found(cls, folder: Path) -> Lab:
        """The one that `up` started there."""
        return cls(folder, **json.loads((folder / "state.json").read_text()))

    def enter(self, host: str, *command: str | Path, root: bool = False) -> list[str]:
        """`command` on a host, as a command of this machine."""
        assert self.pids
        namespaces = ["nsenter", "--target", str(self.pids[host]), *NAMESPACES]
        return [*namespaces, *([] if root else as_user(self)), *map(str, command)]

    def join(self, host: str) -> None:
        """Move this process into the host's control groups."""
        control_groups.join(self.groups, host)

    def on(
        self, host: str, *command: str | Path, root: bool = False, ok: bool = True, timeout_s: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to its end."""
        done = subprocess.run(
            self.enter(host, *command, root=root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd="/",
            env=self.environment if root else None,
            preexec_fn=lambda: self.join(host),
        )
        assert not ok or done.returncode == 0, f"{command} on {host}: code {done.returncode}\n{done.stdout}"
        return done

    @property
    def environment(self) -> dict[str, str]:
        """What daemons and root are started with."""
        return {
            "PATH": search_path(self.sites, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            **of_sites(self),
        }

    def _room(self) -> psutil.Process | None:
        """The room's first process, while it lives."""
        with contextlib.suppress(psutil.NoSuchProcess):
            room = psutil.Process((self.pids or {}).get("room", 2**31 - 1))  # no such process where it did not start
            return room if abs(room.create_time() - self.began) < 1 else None
        return None

    @property
    def lives(self) -> bool:
        return self._room() is not None

    def down(self) -> None:
        """End everything that lives in it, and remove its files and control groups."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if room := self._room():
                inside = room.children(recursive=True)
                room.kill()
                _, alive = psutil.wait_procs([room, *inside], timeout=10)
                assert not alive, f"these processes of the laboratory do not end: {alive}"
        if self._unshare:
            self._unshare.wait()
        control_groups.remove(self.groups)
        shutil.rmtree(self.folder)


def search_path(sites: Sequence[str], *folders: str) -> str:
    return os.pathsep.join([*(str(folder) for site in sites for folder in SITES[site].FOLDERS), *folders])


def of_sites(lab: Lab) -> dict[str, str]:
    """Variables that the commands of its schedulers need."""
    return {name: value for site in lab.sites for name, value in SITES[site].environment(lab).items()}


def as_user(lab: Lab) -> list[str]:
    """The beginning of a command that the user gives: her shell has this checkout's environment activated."""
    variables = {
        "HOME": lab.home,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "PATH": search_path(lab.sites, f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"),
        **of_sites(lab),
    }
    user = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]
    given = [f"{name}={value}" for name, value in variables.items()]
    return [*user, "env", "-i", f"--chdir={lab.home}", *given]


def write_files(lab: Lab) -> None:
    """What the hosts find in the folder when they start."""
    for name in ("etc", "log", "home"):
        (lab.folder / name).mkdir()
    lab.home.mkdir()
    os.chown(lab.home, USER_ID, USER_ID)
    addresses = [f"{NETWORK}.{number} {name}" for number, name in enumerate(HOSTS, FIRST_ADDRESS)]
    lines = {
        "hosts": "\n".join(["127.0.0.1 localhost", *addresses, ""]),
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{lab.home}:/bin/bash\n",
        "group": f"{USER}:x:{USER_ID}:\n",
    }
    for name, text in lines.items():
        others = "" if name == "hosts" else Path("/etc", name).read_text()
        (lab.folder / "etc" / name).write_text(others + text)
    visible = [lab.folder, REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)]
    visible += [folder.parent for site in lab.sites for folder in SITES[site].FOLDERS[:1]]
    (lab.folder / "visible").write_text("\n".join(dict.fromkeys(map(str, visible))))
    (lab.folder / "groups").write_text("\n".join(lab.groups))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / f"hvd-lab-{REPOSITORY.name}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up").add_argument("sites", nargs="*", choices=[[], *SITES], default=[])
    verbs.add_parser("down")
    on = verbs.add_parser("on")
    on.add_argument("--root", action="store_true")
    on.add_argument("host", choices=HOSTS)
    on.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.verb == "up":
        sites = given.sites or ["slurm", "gridengine"]
        if reason := why_not(*sites):
            sys.exit(reason)
        if given.dir.exists():
            sys.exit(f"{given.dir} exists: the laboratory is up, or its end was cut short. See to it with: lab.py down")
        began = time.monotonic()
        lab = Lab.up(given.dir, sites, stays=True)
        print(f"up in {time.monotonic() - began:.1f} s; home of {USER}: {lab.home}")
        return
    if not given.dir.exists():
        sys.exit(f"{given.dir} does not exist: start the laboratory with lab.py up")
    lab = Lab.found(given.dir)
    if given.verb == "down":
        lab.down()
        return
    lab.join(given.host)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    words = lab.enter(given.host, *command, root=given.root)
    os.execvpe(words[0], words, lab.environment if given.root else dict(os.environ))


if __name__ == "__main__":
    main()
