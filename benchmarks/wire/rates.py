"""How a program on a host of the laboratory asks for another rate of the links. Standard library only: the peers use it, too.

The program writes what it wants into a file of a folder that all hosts see, and waits until it stands in another one. Who made
the hosts looks for it:

    with kept(lab, folder):
        ...                              # run programs that call `ask`
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNLIMITED = "unlimited"
LIMIT_S = 30.0
POLL_S = 0.01


def mbit_per_s(rate: str) -> float | None:
    return None if rate == UNLIMITED else float(rate)


def ask(folder: str, rate: str, turn: int) -> None:
    """Wait until the links have this rate. One process of the job, whose `turn` is another one each time."""
    wanted, text = Path(folder) / "wanted", f"{turn} {rate}"
    draft = wanted.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(wanted)
    deadline = time.monotonic() + LIMIT_S
    while _read(Path(folder) / "have") != text:
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody gave the links the rate {rate!r} within {LIMIT_S:.0f} s")
        time.sleep(POLL_S)


@contextlib.contextmanager
def kept(lab: Any, folder: Path) -> Iterator[None]:
    """Give the links of `lab` what programs ask for, as long as the block runs; no limit after it."""
    over = threading.Event()
    for name in ("wanted", "have"):
        (folder / name).unlink(missing_ok=True)

    def serve() -> None:
        given = ""
        while not over.wait(POLL_S):
            wanted = _read(folder / "wanted")
            if wanted and wanted != given:
                lab.limit(mbit_per_s(wanted.split()[1]))
                (folder / "have").write_text(wanted)
                given = wanted

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield
    finally:
        over.set()
        server.join(LIMIT_S)
        lab.limit(None)


def sent_bytes(interface: str | None = None) -> dict[str, int]:
    """What this host has sent over each interface (or the one) since it began, from its counters."""
    found = {}
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo" and interface in (None, name.strip()):
            found[name.strip()] = int(counters.split()[8])
    return found


def most_sent(before: dict[str, int], after: dict[str, int]) -> int:
    """Bytes over the interface that sent most in between: the one that carries the exchange."""
    return max((after[name] - before[name] for name in after if name in before), default=0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
