"""What `hvd-train report` does: write the page of a run again, or one that compares several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hvd_train.cli.terminal import parse, tell
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.files import write_text
from hvd_train.runs import (
    RunDir,
    comparison_page,
    read_ensemble_report,
    read_report,
    write_ensemble_page,
    write_page,
)

COMPARISON = Path("comparison.html")


@dataclass(frozen=True, kw_only=True)
class ReportArguments:
    """Write report.html of a complete run or of an ensemble again, or a page that compares several runs.

    The page is one file. Any browser shows it, without a network.

    Examples:

        hvd-train report runs/default-20260101-120000

        hvd-train report runs/narrow runs/wide --out narrow-and-wide.html
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The directories of complete runs."""
    out: Path | None = None
    """The file to write. By default RUN/report.html for one run, and comparison.html for several."""


def report(argv: Sequence[str], placement: Placement) -> int:
    """Returns the exit code. Root only."""
    arguments = parse(ReportArguments, argv, placement, prog="hvd-train report")
    if not placement.is_root:
        return 0
    if not arguments.runs:
        raise UserError("hvd-train report: name the directory of a run, such as runs/default-20260101-120000.")
    runs = [complete(path) for path in arguments.runs]
    if len(runs) == 1:
        out = write_again(runs[0], arguments.out)
    else:
        out = arguments.out or COMPARISON
        reports = [read_report(run_dir) for run_dir in runs]
        write_text(out, comparison_page(list(zip(short_names(arguments.runs), reports, strict=True))))
    return tell(placement, f"written: {out}")


def write_again(run_dir: RunDir, out: Path | None) -> Path:
    """The page of one run or ensemble, into its directory or to `out`; returns where it is."""
    if ensemble := read_ensemble_report(run_dir):
        write_ensemble_page(ensemble, run_dir, out=out)
    else:
        write_page(read_report(run_dir), run_dir, out=out)
    return out or run_dir.page


def complete(path: Path) -> RunDir:
    """The directory of a complete run or ensemble, or UserError."""
    run_dir = RunDir(path)
    if not run_dir.report.is_file():
        what = "is not complete yet" if run_dir.config.is_file() else "is not the directory of a run"
        raise UserError(
            f"{path} {what}: it has no {run_dir.report.name}. hvd-train runs lists the runs in a directory."
        )
    return run_dir


def short_names(paths: Sequence[Path]) -> list[str]:
    """The names of the directories, or their paths where two have the same name."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
