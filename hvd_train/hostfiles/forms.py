"""Hostfiles as horovodrun and mpirun take them: written, and told apart.

The two launchers disagree. horovodrun 0.28 takes `name slots=N` lines alone and dies on a blank line with an
IndexError; mpirun 4.1 takes comments and users, but neither `name:N` nor `ppn=`, IPv6 or an underscore.

    text = convert(Path("hostfiles/lab"), launcher="horovodrun")
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NoReturn, get_args

from hvd_train.errors import HostfileError
from hvd_train.hostfiles.hostfile import Host, is_ipv4, parse_hostfile, read_hostfile, read_text, refuse

Launcher = Literal["horovodrun", "mpirun"]

HOROVODRUN_LINE = re.compile(r"[A-Za-z0-9_.-]+ slots=[0-9]+")
# Every other form that our parser takes was tried with mpirun 4.1.8, which refuses these.
# The last are the lists of Grid Engine and LSF.
MPIRUN_REFUSES = re.compile(r":|\r|\b(?:ppn|slot|user)\s*=|^\ufeff|^\s*\S+\s+\d")


def write_hostfile(hosts: Iterable[Host], *, launcher: Launcher) -> str:
    """The hosts as the launcher's own parser takes them. HostfileError for what it has no way to say."""
    if launcher not in get_args(Launcher):
        raise HostfileError(f"There is no launcher {launcher!r} to write for: it is horovodrun or mpirun.")
    hosts = tuple(hosts)
    if launcher == "mpirun":
        _check_short_names(hosts)
    return "".join((_horovodrun_line if launcher == "horovodrun" else _mpirun_line)(host) + "\n" for host in hosts)


def convert(path: Path, launcher: Launcher) -> str:
    """What `hvd-train hostfile convert --for LAUNCHER PATH` prints."""
    return write_hostfile(read_hostfile(path), launcher=launcher)


def check(path: Path) -> str:
    """What `hvd-train hostfile check PATH` prints: the hosts, and which launcher reads the file as it is."""
    text = read_text(path)  # once, so that a pipe will do
    hosts = parse_hostfile(text, str(path))
    num_slots = sum(host.slots for host in hosts)
    width = max(len(str(host)) for host in hosts)
    lines = [f"{path}: {_count(len(hosts), 'host')}, {_count(num_slots, 'slot')}"]
    for host in hosts:
        notes = "" if host.slots_given else "   (none written, so 1; mpirun takes as many as the host has cores)"
        notes += f"   (at most {host.max_slots})" if host.max_slots else ""
        lines.append(f"  {host!s:<{width}}  {_count(host.slots, 'slot')}{notes}")
    for launcher in get_args(Launcher):
        lines.append(f"{launcher}: {_verdict(path, text, hosts, launcher)}")
    return "\n".join(lines)


def _verdict(path: Path, text: str, hosts: tuple[Host, ...], launcher: Launcher) -> str:
    try:
        write_hostfile(hosts, launcher=launcher)
    except HostfileError as error:
        return f"no. {error}"
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()  # after the last line's end there is no further line
    if launcher == "horovodrun":
        as_it_is = all(HOROVODRUN_LINE.fullmatch(line.rstrip()) for line in lines)
    else:
        as_it_is = not any(MPIRUN_REFUSES.search(line.split("#", 1)[0]) for line in lines)
    command = shlex.join([launcher, "-np", str(sum(host.slots for host in hosts)), "--hostfile", str(path)])
    if as_it_is:
        return f"reads it as it is: {command} ..."
    name = shlex.quote(str(path))
    return f"not as it is; write one it reads: hvd-train hostfile convert --for {launcher} {name} > {name}.{launcher}"


def _horovodrun_line(host: Host) -> str:
    if host.user is not None:
        refuse(
            host.where,
            f"horovodrun takes no user ({host})",
            f"Write `Host {host.name}` and `User {host.user}` into ~/.ssh/config, and {host.name} alone here",
        )
    if host.is_ipv6:
        _refuse_ipv6(host, "horovodrun")
    return f"{host.name} slots={host.slots}"


def _mpirun_line(host: Host) -> str:
    if host.is_ipv6:
        _refuse_ipv6(host, "mpirun")
    if "_" in host.name:
        way_out = "Give the host a name of letters, digits, dots and hyphens in /etc/hosts"
        refuse(host.where, f"mpirun takes no underscore in a host's name ({host.name})", way_out)
    if host.user is not None and "." in host.user:
        way_out = f"Write `Host {host.name}` and `User {host.user}` into ~/.ssh/config, and {host.name} alone here"
        refuse(host.where, f"mpirun takes no dot in a user's name ({host})", way_out)
    limit = "" if host.max_slots is None else f" max_slots={host.max_slots}"
    return f"{host} slots={host.slots}{limit}"


def _refuse_ipv6(host: Host, launcher: Launcher) -> NoReturn:
    refuse(
        host.where, f"{launcher} takes no IPv6 address ({host})", "Give the host a name in /etc/hosts, and write that"
    )


def _check_short_names(hosts: tuple[Host, ...]) -> None:
    """mpirun cuts a name at its first dot (orte_keep_fqdn_hostnames), so n1.east and n1.west become one host."""
    seen: dict[str, Host] = {}
    for host in hosts:
        short = host.name.lower() if is_ipv4(host.name) else host.name.lower().split(".")[0]
        if short in seen:
            rule = f"mpirun cuts names at the first dot, and {host.name} is then the same as {seen[short].name}"
            refuse(host.where, rule, "Use addresses, or names that differ before the first dot")
        seen[short] = host


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
