"""Rows with a state: a table on a terminal, plain lines in a pipe."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from hvd_train.cli.live_terminal import plain_or_live
from hvd_train.text import printable

STYLES = {
    "running": "green",
    "complete": "green",
    "stopped": "yellow",
    "failed": "red",
    "lost": "red",
    "unknown": "yellow",
}


@dataclass(frozen=True)
class Listing:
    """Headings and rows. The second column of each row is a state."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(listing: Listing) -> None:
    """Print it on the root's output."""
    console = plain_or_live()
    if not console.is_terminal:
        widths = [max(map(len, column)) for column in zip(listing.headings, *listing.rows, strict=True)]
        for row in (listing.headings, *listing.rows):
            cells = (printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip(), flush=True)
        return
    table = Table()
    for heading in listing.headings:
        table.add_column(heading, overflow="fold")
    for row in listing.rows:
        table.add_row(*row, style=STYLES.get(row[1].partition(":")[0]))
    console.print(table)
