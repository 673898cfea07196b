"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 30.0
POLL_S = 0.1


def wait_until(
    condition: Callable[[], object], what: str, *, timeout_s: float = LIMIT_S, log: Path | None = None
) -> None:
    """Poll until `condition` holds. TimeoutError says `what` did not come, with the text of `log`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            told = f":\n{log.read_text(errors='replace')}" if log and log.exists() else ""
            raise TimeoutError(f"{what} did not come within {timeout_s:g} s{told}")
        time.sleep(POLL_S)
