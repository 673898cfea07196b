"""What long work on data shows on a terminal: lines, and a bar of bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from hvd_train.cli.safe_console import SafeConsole


@contextlib.contextmanager
def data_progress() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Two functions for the work: one for lines, and one for bytes (done, total) that draws a bar."""
    console = SafeConsole(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield (
            lambda text: console.print(text, markup=False),
            lambda done, total: bar.update(task, completed=done, total=total or None),
        )
