"""Saying things and ending, right on one rank and on many: the root speaks for what all ranks share."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.processes import leave
from hvd_train.text import printable

T = TypeVar("T")

# A rank that ends with an error all ranks share waits this long for the root to say it: the first to end, ends all.
LET_ROOT_SPEAK_S = 5.0


def tell(placement: Placement, text: str, *, code: int = 0) -> int:
    """Print on the root; returns the exit code."""
    if placement.is_root:
        print(printable(text), flush=True)
    return code


def end(placement: Placement, code: int, message: str = "", *, everywhere: bool = False) -> int:
    """Say what happened and end. What all ranks share is said by the root, what is one rank's own (`everywhere`) by it."""
    if message and (placement.is_root or everywhere):
        prefix = f"[{placement}] " if everywhere and placement.size > 1 else ""
        print(printable(prefix + message), file=sys.stderr, flush=True)
    if placement.size > 1 and code:
        sys.stdout.flush()
        if not placement.is_root and not everywhere:
            time.sleep(LET_ROOT_SPEAK_S)
        # At once: a plain exit would run Horovod's shutdown, which waits for the others.
        leave(code)
    return code


def parse(kind: type[T], argv: Sequence[str], placement: Placement, *, prog: str, default: T | None = None) -> T:
    """Typed arguments from flags; tyro prints help and errors, on the root alone, and raises SystemExit."""
    options: dict[str, Any] = {"args": list(argv), "prog": prog, "console_outputs": placement.is_root}
    if default is not None:
        options["default"] = default
    parsed: T = tyro.cli(kind, **options)
    return parsed


def usage_of(verb: str, verbs: Mapping[str, str]) -> str:
    """A usage line and what each verb is for."""
    program = f"hvd-train {verb}".strip()
    width = max(map(len, verbs))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in verbs.items()]
    return "\n".join([f"usage: {program} VERB [OPTIONS]      ({program} VERB --help tells more)", "", *lines])


def chosen(verb: str, verbs: Mapping[str, str], argv: Sequence[str], placement: Placement) -> tuple[str, Sequence[str]]:
    """The verb under `verb` that was asked for, and its arguments; SystemExit after help, UserError for another word."""
    if not argv or argv[0] in ("-h", "--help"):
        raise SystemExit(tell(placement, usage_of(verb, verbs), code=0 if argv else 2))
    if argv[0] not in verbs:
        raise UserError(f"{argv[0]!r} is not something hvd-train {verb} does. It does: {', '.join(verbs)}.")
    return argv[0], argv[1:]
