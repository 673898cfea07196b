"""Lengths of time as people and batch systems write them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d+):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def seconds_of(text: str) -> int | None:
    """The seconds of "H:MM" or "H:MM:SS", None where it is neither or is 0.

    >>> seconds_of("1:30"), seconds_of("0:00:45"), seconds_of("48:00"), seconds_of("90")
    (5400, 45, 172800, None)
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds or None


def clock(seconds: int) -> str:
    """H:MM:SS, as `seconds_of` reads it.

    >>> clock(5400), clock(90000)
    ('1:30:00', '25:00:00')
    """
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
