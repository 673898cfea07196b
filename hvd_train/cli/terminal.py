"""Printing and parsing, right on one rank and on many: the root prints what all ranks share."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from hvd_train.cli.network_flags import refuse_flags_of_other_networks
from hvd_train.config import RunConfig
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.text import printable

T = TypeVar("T")


def tell(placement: Placement, text: str, *, code: int = 0) -> int:
    """Print on the root; returns the exit code."""
    if placement.is_root:
        print(printable(text), flush=True)
    return code


def tell_beside(placement: Placement, text: str) -> None:
    """Print on the root, to the standard error: the standard output is for data."""
    if placement.is_root:
        print(printable(text), file=sys.stderr, flush=True)


def parse(kind: type[T], argv: Sequence[str], placement: Placement, *, prog: str, default: T | None = None) -> T:
    """Typed arguments from flags; tyro prints help and errors, on the root alone, and raises SystemExit.

    `--help` shows the common flags of a `kind` that holds a RunConfig, `--help-all` shows all.
    """
    if os.environ.get("NO_COLOR"):  # https://no-color.org, which rich follows and tyro does not
        tyro._experimental_options["ansi_codes"] = False
    if isinstance(getattr(default, "run", None), RunConfig):
        refuse_a_file_without_a_flag(argv, prog)
    options: dict[str, Any] = {"args": list(argv), "prog": prog, "console_outputs": placement.is_root}
    if default is not None:
        options["default"] = default
    if "--help-all" in argv:
        options |= {"args": ["--help"], "description": described(kind)}
    elif not {"-h", "--help"}.isdisjoint(argv):
        options |= {"args": ["--help"], "description": described(kind)}
        if hasattr(default, "run"):
            from hvd_train.cli.common_flags import NOTE, with_common_flags

            options["default"] = with_common_flags(default)
            options["description"] += f"\n\n{NOTE}"
            kind = type(options["default"])
    parsed: T = tyro.cli(kind, **options)
    if isinstance(run := getattr(parsed, "run", None), RunConfig):
        refuse_flags_of_other_networks(argv, run.model)
    return parsed


def refuse_a_file_without_a_flag(argv: Sequence[str], prog: str) -> None:
    """UserError for a first word that is no flag, and for a file that follows none: many programs take the table so."""
    for index, word in enumerate(argv):
        alone = not word.startswith("-") and not (index and argv[index - 1].startswith("-"))
        if alone and (index == 0 or ("." in word and Path(word).is_file())):
            raise UserError(
                f"{word} stands without a flag. The table of a run is given by --data: {prog} --data {word}"
            )


def described(kind: type) -> str:
    """The docstring of `kind` as tyro is to print it: its examples one a line."""
    return (inspect.getdoc(kind) or "").replace("\n\n    ", "\n    ")


def usage_of(verb: str, verbs: Mapping[str, str]) -> str:
    """A usage line and what each verb is for."""
    program = f"hvd-train {verb}".strip()
    width = max(map(len, verbs))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in verbs.items()]
    return "\n".join([f"usage: {program} VERB [OPTIONS]      ({program} VERB --help shows its flags)", "", *lines])


def chosen(verb: str, verbs: Mapping[str, str], argv: Sequence[str], placement: Placement) -> tuple[str, Sequence[str]]:
    """The verb under `verb` that was asked for, and its arguments; SystemExit after help, UserError for another word."""
    if not argv or argv[0] in ("-h", "--help"):
        raise SystemExit(tell(placement, usage_of(verb, verbs), code=0 if argv else 2))
    if argv[0] not in verbs:
        raise UserError(f"{argv[0]!r} is not something hvd-train {verb} does. It does: {', '.join(verbs)}.")
    return argv[0], argv[1:]
