"""How values are written for schedulers: ids, names, times, sizes, and lines of directives."""

from __future__ import annotations

import re

from hvd_train.errors import UserError
from hvd_train.text import clock as text_clock

# 123, 123_4, 123[4], 123[4].server, 123[] for a whole array. Grid Engine shows 123.4.
ID = re.compile(
    r"(?P<number>\d+)(?:_(?P<a>\d+)|\[(?P<b>\d*)\]|\.(?P<c>\d+)(?![\w.]))?(?:\.[A-Za-z0-9][\w.-]*)?", re.ASCII
)


def split_id(job_id: str) -> tuple[str, int | None]:
    """The number of a job and of its task, from any form that schedulers print. Raises UserError.

    >>> split_id("123_4"), split_id("123[4].server"), split_id("123.server")
    (('123', 4), ('123', 4), ('123', None))
    """
    found = ID.fullmatch(job_id.strip())
    if not found:
        raise UserError(f"{job_id!r} is no job id. Job ids look like 123, and 123_4 is task 4 of the array 123.")
    task = found["a"] or found["b"] or found["c"]
    return found["number"], int(task) if task else None


def with_brackets(job_id: str) -> str:
    """The form of PBS and LSF. PBS knows a whole array by empty brackets alone, which are kept.

    >>> with_brackets("123_4"), with_brackets("123"), with_brackets("123[].server")
    ('123[4]', '123', '123[]')
    """
    number, task = split_id(job_id)
    if task is None:
        return f"{number}[]" if "[]" in job_id else number
    return f"{number}[{task}]"


def with_underscore(job_id: str) -> str:
    """The form of Slurm, and of hvd_train.

    >>> with_underscore("123[4].server")
    '123_4'
    """
    number, task = split_id(job_id)
    return number if task is None else f"{number}_{task}"


def job_name(name: str, *, longest: int = 128, letter_first: bool = False) -> str:
    """The name with - for each character that a scheduler may refuse.

    >>> job_name("songs, 2 hosts"), job_name("2-hosts-for-songs", longest=15, letter_first=True)
    ('songs-2-hosts', 'j2-hosts-for-so')
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "job"
    if letter_first and not plain[0].isalpha():
        plain = f"j{plain}"
    return plain[:longest]


def clock(seconds: int) -> str:
    """HH:MM:SS.

    >>> clock(90000)
    '25:00:00'
    """
    return f"{text_clock(seconds):0>8}"


def share(total: int, parts: int) -> int:
    """A part of `total`, rounded up, so that the parts together are not less.

    >>> share(4000, 3)
    1334
    """
    return -(-total // parts)


def quoted(value: str) -> str:
    """In double quotes where it has blanks. All schedulers read directives so, and some replace marks inside."""
    return f'"{value}"' if re.search(r"\s", value) else value
