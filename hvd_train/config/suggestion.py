"""What a message advises where a key is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def suggestion(key: str, known: Sequence[str]) -> str:
    """The known key that `key` was probably meant to be, or else all known keys, as a sentence."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"The keys here are: {', '.join(known)}."
