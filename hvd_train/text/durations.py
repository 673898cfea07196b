"""Lengths of time as people and batch systems write them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?:(\d{1,4})-)?(\d{1,9}):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def seconds_of(text: str) -> int | None:
    """The seconds of "H:MM" or "H:MM:SS", which may follow a number of days, as "D-HH:MM:SS". None where it is neither or is 0.

    >>> seconds_of("1:30"), seconds_of("0:00:45"), seconds_of("1-00:00:00"), seconds_of("90")
    (5400, 45, 86400, None)
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds or None


def clock(seconds: int) -> str:
    """H:MM:SS, as `seconds_of` reads it.

    >>> clock(5400), clock(90000)
    ('1:30:00', '25:00:00')
    """
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def ago(seconds: float) -> str:
    """How long ago something was, in the largest unit of which there are two.

    >>> ago(5), ago(150), ago(86400 * 3)
    ('5 s ago', '2 min ago', '3 days ago')
    """
    whole = max(0, int(seconds))
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit} ago"
    return f"{whole} s ago"
