"""Hostfiles: read what users of horovodrun and mpirun and batch schedulers write, and refuse the rest by file and line.

    hosts = read_hostfile(Path("hostfiles/lab"))     # or parse_host_list("node1:2,node2")

A host without a number has one slot, as in horovodrun's and mpirun's -H; mpirun alone takes a bare name in a *file*
for as many slots as the host has cores, which cannot be known here. What each launcher reads in turn is written by
`hvd_train.hostfiles.forms`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from hvd_train.errors import HostfileError
from hvd_train.hostfiles.job_lists import as_hostfile

# What launchers call an option: Open MPI's words, Torque's ppn, and what is often written for them.
MEANING = {
    **dict.fromkeys(("slots", "slot", "cpu", "count", "ppn"), "slots"),
    **dict.fromkeys(("max_slots", "max-slots"), "max_slots"),
    **dict.fromkeys(("username", "user_name", "user-name", "user"), "username"),
}
# More than any machine has cores: a number beyond is a slip of the pen.
MOST_SLOTS = 65_536

LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
HOST = re.compile(r"(?:(?P<user>[^@]*)@)?(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]@]*))(?::(?P<slots>[^:]*))?")


@dataclass(frozen=True)
class Host:
    """One machine and how many ranks it takes.

    `name` is a host name, an IPv4 address, or an IPv6 address without brackets. `max_slots` is the limit when
    oversubscribing (None: none is stated); `user` the account for ssh (None: the same as here). `where` and
    `slots_given` say where it was read, and whether its slots were written there; they don't count in comparisons.
    """

    name: str
    slots: int = 1
    max_slots: int | None = None
    user: str | None = None
    where: str = field(default="", compare=False)
    slots_given: bool = field(default=True, compare=False)

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.name

    def __str__(self) -> str:
        name = f"[{self.name}]" if self.is_ipv6 else self.name
        return f"{self.user}@{name}" if self.user else name


def read_hostfile(path: Path) -> tuple[Host, ...]:
    """The hosts of a file, in its order. HostfileError names file, line, rule and the way out."""
    return parse_hostfile(read_text(path), str(path))


def parse_hostfile(text: str, source: str) -> tuple[Host, ...]:
    """As `read_hostfile`, of a text; `source` stands for the file's name in messages."""
    numbered = enumerate(text.removeprefix("\ufeff").split("\n"), start=1)
    lines = [(number, content) for number, line in numbered if (content := line.split("#", 1)[0].strip())]
    hosts = [_parse_line(content, f"{source}, line {number}") for number, content in as_hostfile(lines)]
    if not hosts:
        raise HostfileError(f"{source} names no host. It needs one line per host: node1 slots=2")
    return _without_duplicates(hosts)


def parse_host_list(text: str, source: str = "-H") -> tuple[Host, ...]:
    """The hosts of horovodrun's and mpirun's `-H a:2,b`. HostfileError names the item."""
    hosts = []
    for number, item in enumerate(text.split(","), start=1):
        where = f"{source} {text}, item {number}"
        if not item.strip():
            refuse(where, "it is empty", "Write hosts like node1:2,node2:2, without a comma too many")
        hosts.append(_parse_host(item.strip(), where))
    return _without_duplicates(hosts)


def _parse_line(content: str, where: str) -> Host:
    """`host key=value ...`, without its comment."""
    first, *options = re.sub(r"\s*=\s*", "=", content).split()
    if "=" in first:
        refuse(where, f"{first!r} stands where the host's name belongs", "Write the host first: node1 slots=2")
    host = _parse_host(first, where)
    given: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            refuse(where, f"{option!r} is not an option", "An option is written key=value, as in: node1 slots=2")
        meaning = MEANING.get(key.lower())
        if meaning is None:
            refuse(where, f"{key!r} is not known", "Known are slots= (or ppn=), max_slots= and username=")
        if meaning in given:
            refuse(where, f"{meaning} is given twice, {given[meaning]} and {value}", "Leave one of them out")
        given[meaning] = value
    return _with_options(host, given, where)


def _with_options(host: Host, given: dict[str, str], where: str) -> Host:
    for meaning, inside in (("slots", host.slots if host.slots_given else None), ("username", host.user)):
        if inside is not None and meaning in given:
            refuse(where, f"{meaning} is given twice, {inside} and {given[meaning]}", "Leave one of them out")
    slots = _number(given["slots"], "slots", where) if "slots" in given else host.slots
    max_slots = _number(given["max_slots"], "max_slots", where) if "max_slots" in given else None
    user = _user(given["username"], where) if "username" in given else host.user
    if max_slots is not None and max_slots < slots:
        refuse(where, f"max_slots={max_slots} is less than slots={slots}", "Raise max_slots or leave it out")
    return Host(host.name, slots, max_slots, user, where, slots_given="slots" in given or host.slots_given)


def _parse_host(text: str, where: str) -> Host:
    """`[user@]name[:slots]`, with an IPv6 address in brackets."""
    parts = HOST.fullmatch(text)
    if parts is None:
        way_out = "Write name, name:slots or user@name; an IPv6 address goes in brackets, as in [fd00::7]:2"
        refuse(where, f"{text!r} is not a host", way_out)
    name = parts["name"] if parts["ipv6"] is None else _ipv6(parts["ipv6"], where)
    if parts["ipv6"] is None:
        _check_name(name, where)
    user = None if parts["user"] is None else _user(parts["user"], where)
    given = parts["slots"] is not None
    slots = _number(parts["slots"], "the number after the colon", where) if given else 1
    return Host(name, slots, None, user, where, slots_given=given)


def _check_name(name: str, where: str) -> None:
    rule = "A name has letters, digits, hyphens and dots, and no hyphen at its ends"
    if not NAME.fullmatch(name) or len(name) > 253:
        refuse(where, f"{name!r} is not a host's name", rule)
    if name.rpartition(".")[2].isdigit() and not is_ipv4(name):
        refuse(where, f"{name!r} is neither a name nor an IPv4 address", "An address has four numbers from 0 to 255")


def is_ipv4(name: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(name))
    except ValueError:
        return False


def _ipv6(text: str, where: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError as error:
        refuse(where, f"[{text}] is not an IPv6 address ({error})", "Write it like [fd00::7]")


def _user(text: str, where: str) -> str:
    if not USER.fullmatch(text):
        refuse(where, f"{text!r} is not a user's name", "Write user@host, as for ssh")
    return text


def _number(text: str, key: str, where: str) -> int:
    # isdecimal alone takes digits of other scripts; the length keeps int() off numbers of a million digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= MOST_SLOTS):
        refuse(where, f"{key} is {text!r}", f"It is a whole number from 1 to {MOST_SLOTS}, as in: node1 slots=2")
    return int(text)


def _without_duplicates(hosts: list[Host]) -> tuple[Host, ...]:
    seen: dict[str, Host] = {}
    for host in hosts:
        first = seen.setdefault(host.name.lower(), host)
        if first is not host:
            together = first.slots + host.slots
            rule = f"{host.name} was named before ({first.where})"
            refuse(host.where, rule, f"Name a host once, with all its slots: {host.name} slots={together}")
    return tuple(hosts)


def read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise HostfileError(f"{path} is not a text file. A hostfile has one line per host: node1 slots=2") from None
    except OSError as error:
        raise HostfileError(
            f"{path} cannot be read: {error.strerror or error}. Name a file with one host a line."
        ) from None


def refuse(where: str, rule: str, way_out: str) -> NoReturn:
    raise HostfileError(f"{where}: {rule}. {way_out}.")
