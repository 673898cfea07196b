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
    Report,
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
    if len(arguments.runs) == 1 and (ensemble := read_ensemble_report(RunDir(arguments.runs[0]))):
        run_dir = RunDir(arguments.runs[0])
        write_ensemble_page(ensemble, run_dir, out=arguments.out)
        return tell(placement, f"written: {arguments.out or run_dir.page}")
    reports = [(path, complete(path)) for path in arguments.runs]
    if len(reports) == 1 and arguments.out is None:
        run_dir = RunDir(reports[0][0])
        write_page(reports[0][1], run_dir)
        return tell(placement, f"written: {run_dir.page}")
    out = arguments.out or COMPARISON
    if len(reports) == 1:
        write_page(reports[0][1], RunDir(reports[0][0]), out=out)
    else:
        names = short_names([path for path, _ in reports])
        write_text(out, comparison_page([(name, one) for name, (_, one) in zip(names, reports, strict=True)]))
    return tell(placement, f"written: {out}")


def complete(path: Path) -> Report:
    """The report of a complete run, or UserError."""
    run_dir = RunDir(path)
    if not run_dir.report.is_file():
        what = "is not complete yet" if run_dir.config.is_file() else "is not the directory of a run"
        raise UserError(
            f"{path} {what}: it has no {run_dir.report.name}. hvd-train runs lists the runs in a directory."
        )
    if read_ensemble_report(run_dir):
        raise UserError(
            f"{path} is an ensemble, which has no learning curve to compare. Its own page has its members beside it: "
            f"hvd-train report {path}"
        )
    return read_report(run_dir)


def short_names(paths: Sequence[Path]) -> list[str]:
    """The names of the directories, or their paths where two have the same name."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
