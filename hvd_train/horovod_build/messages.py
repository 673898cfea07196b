"""How the build speaks: everything on standard error, and errors that name the way out."""

from __future__ import annotations

import sys

from hvd_train.errors import MissingEnvironment


class BuildError(MissingEnvironment):
    """What went wrong and what the user can do about it."""


def say(text: str, *, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()
