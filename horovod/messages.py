"""How the programs of this folder speak: everything on standard error, and errors that name the way out."""

from __future__ import annotations

import sys


class BuildError(Exception):
    """What went wrong and what the user can do about it."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
