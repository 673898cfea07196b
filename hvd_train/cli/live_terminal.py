"""Whether somebody watches the output of this rank on a terminal, so that a progress bar makes sense; and that of long work on data."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from hvd_train.cli.safe_console import SafeConsole
from hvd_train.distributed import detect_placement, launcher_of
from hvd_train.text import file_size

# Columns of a table without a terminal.
PLAIN_WIDTH = 110
# Seconds between two lines of progress there.
PLAIN_EVERY_S = 10.0


def plain_or_live() -> Console:
    """A console that knows whether someone is watching it.

    Under a launcher the output of this process is no guide: the launcher knows whether a terminal shows it. Elsewhere a bar
    that redraws itself would become a heap of control characters.
    """
    placement = detect_placement(os.environ)
    live = launcher_of(placement).shows_terminal(Path(f"/proc/{os.getppid()}")) if placement.launcher else None
    console = SafeConsole(force_terminal=live)
    return console if console.is_terminal else SafeConsole(force_terminal=live, width=PLAIN_WIDTH)


@contextlib.contextmanager
def data_progress(
    *, plain: str = "", quiet: bool = False
) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Two functions for the work: one for lines, and one for bytes (done, total) that draws a bar.

    Without a terminal, `plain` is what was done so far in a line every PLAIN_EVERY_S seconds, such as "predicted".
    With `quiet` nothing is shown.
    """
    console = SafeConsole(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    told = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            nonlocal told
            bar.update(task, completed=done, total=total or None)
            if plain and not quiet and total and not console.is_terminal and time.monotonic() - told >= PLAIN_EVERY_S:
                told = time.monotonic()
                console.print(f"{plain}: {done / total:.0%} of {file_size(total)}", markup=False)

        yield lambda text: None if quiet else console.print(text, markup=False), show
