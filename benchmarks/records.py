"""What the programs that measure speed write: a dated file each, to which rows that are measured again are added.

python benchmarks/records.py bench BENCH.JSON benchmarks/results          keeps what `hvd-train bench` wrote
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pages import cpu_of, date_of

from hvd_train.bench.session import machine_line
from hvd_train.cli.bench_verbs import stoppable
from hvd_train.files.writing import write_text
from hvd_train.processes.signals import Stopped
from hvd_train.runs.provenance import git_state, versions

# Asked before a program pins itself to one of them.
NUM_CORES = len(os.sched_getaffinity(0))


def header() -> dict[str, Any]:
    """Date, machine, versions, commit: what a figure means nothing without."""
    return {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": machine_line(),
        "versions": versions(),
        "git": git_state(),
    }


def run(main: Callable[[], None]) -> None:
    """Run a program's `main`. Ctrl-C and SIGTERM end what it has started, too; what was saved by then stays."""
    try:
        stoppable(main)
    except Stopped as stopped:
        sys.stderr.write(f"stopped by {stopped}\n")
        sys.exit(stopped.exit_code)


def check(
    parser: argparse.ArgumentParser, *, out: Path | None, only: Sequence[str] = (), rows: Iterable[str] = ()
) -> None:
    """End with a message before minutes of work, where the results could not be written or a row is unknown."""
    if unknown := [name for name in only if name not in rows]:
        parser.error(f"--only {unknown[0]!r}: there is no such row. There are: {'; '.join(rows)}")
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        parser.error(f"--out {out} cannot be written: {error.strerror}")


def in_turn(names: Iterable[str], repeat: int) -> list[str]:
    """The order of a repeat's rows: back and forth, so that none always has the same before it."""
    return list(names) if repeat % 2 == 0 else list(names)[::-1]


def save(
    folder: Path | None,
    kind: str,
    result: dict[str, Any],
    *,
    again: Iterable[str] = (),
    tables: Iterable[str] = (),
    figures: Iterable[str] = (),
) -> None:
    """Write the result as `kind` of its CPU and day; without a folder print it. Where some rows were measured `again`, only
    these change in the day's `tables`, and of the rest the `figures` that the result has."""
    if folder is None:
        print(json.dumps(result, indent=2))
        return
    path = folder / file_name(kind, result)
    again = list(again)
    if again and path.exists():
        before = json.loads(path.read_text())
        for table in tables:
            before[table] |= {row: result[table][row] for row in again if row in result[table]}
        before |= {name: result[name] for name in figures if name in result}
        result = before
    write_text(path, json.dumps(result, indent=2) + "\n")
    print(path)


def file_name(kind: str, result: dict[str, Any]) -> str:
    cpu = re.sub(r"[^a-z0-9]+", "-", cpu_of(result).lower()).strip("-")
    return f"{kind}_{NUM_CORES}-cores_{cpu}_{date_of(result)[:10]}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help="what the file's name begins with")
    parser.add_argument("written", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    save(given.folder, given.kind, json.loads(given.written.read_text()))


if __name__ == "__main__":
    main()
