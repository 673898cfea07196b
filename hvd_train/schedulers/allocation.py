"""The lists of hosts that schedulers give to their jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", re.ASCII)
# No host has more.
MOST_SLOTS = 65_536


def allocated(counts: Iterable[tuple[str, str]], variable: str, scheduler: str) -> tuple[Host, ...]:
    """The hosts in the order of first mention, with the sum of their slots. Raises UserError.

    `counts` are names and numbers as they were read. `variable` is where they were read.
    """
    slots: dict[str, int] = {}
    for name, count in counts:
        if (
            not NAME.fullmatch(name)
            or not (count.isascii() and count.isdecimal())
            or not 0 < int(count[:9]) <= MOST_SLOTS
        ):
            raise UserError(
                f"{variable} names the hosts of this {scheduler} job, but {name[:80]!r} with {count[:20]!r} slots is none."
            )
        slots[name] = slots.get(name, 0) + int(count)
    if not slots:
        raise UserError(f"{variable} is set in this {scheduler} job, but it names no host.")
    return tuple(Host(name, count) for name, count in slots.items())


def lines_of(environment: Mapping[str, str], variable: str, scheduler: str) -> list[str]:
    """The lines, without empty ones, of the file that a variable names. Raises UserError."""
    path = environment.get(variable, "").strip()
    if not path:
        raise UserError(f"{variable} is not set: this is no {scheduler} job, or its environment was not passed on.")
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{variable} is {path}, but this file cannot be read ({error}). {scheduler} writes it on the first host of a "
            "job alone. Run the command in the job script."
        ) from None
    return [line.strip() for line in text.split("\n") if line.strip()]
