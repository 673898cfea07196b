"""Lists of hosts as batch schedulers write them for their jobs, put as lines of a hostfile.

PBS_NODEFILE, LSB_DJOB_HOSTFILE     a host's name in a line, as often as it has slots
PE_HOSTFILE                         node1 2 all.q@node1 UNDEFINED
LSB_MCPU_HOSTS                      node1 2 node2 2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Line = tuple[int, str]
"""The number of a line, from 1, and what stands there without its comment."""

NAME = re.compile(r"[^\s=:@]+")
# Behind the slots stand the queue, and the processors, which a site may leave out.
PE_LINE = re.compile(r"(?P<name>[^\s=:@]+)\s+(?P<slots>\d{1,9})\s+[^\s=@]+@[^\s=@]+(?:\s+\S+)?", re.ASCII)
PAIRS = re.compile(r"[^\s=:@]+\s+\d{1,9}(?:\s+[^\s=:@]+\s+\d{1,9})*", re.ASCII)


def as_hostfile(lines: Sequence[Line]) -> list[Line]:
    """The same hosts as `name slots=N`, in a line each, where all lines have the form of one scheduler. Other lines as they are.

    >>> as_hostfile([(1, "node1"), (2, "node1"), (3, "node2")])
    [(1, 'node1 slots=2'), (3, 'node2 slots=1')]
    """
    contents = [content for _, content in lines]
    if len(lines) == 1 and PAIRS.fullmatch(contents[0]):
        words = contents[0].split()
        return _summed((lines[0][0], name, int(count)) for name, count in zip(words[::2], words[1::2], strict=True))
    matches = [(number, PE_LINE.fullmatch(content)) for number, content in lines]
    if lines and all(match for _, match in matches):
        return _summed((number, match["name"], int(match["slots"])) for number, match in matches if match)
    bare = all(NAME.fullmatch(content) for content in contents)
    if bare and len({content.lower() for content in contents}) < len(contents):
        return _summed((number, content, 1) for number, content in lines)
    return list(lines)


def _summed(counts: Iterable[tuple[int, str, int]]) -> list[Line]:
    """Each host once, in the order and with the line of its first mention."""
    found: dict[str, tuple[int, str, int]] = {}
    for number, name, count in counts:
        first, spelt, before = found.get(name.lower(), (number, name, 0))
        found[name.lower()] = (first, spelt, before + count)
    return [(number, f"{name} slots={count}") for number, name, count in found.values()]
