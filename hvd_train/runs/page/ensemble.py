"""The page of an ensemble: its results, and its members beside it. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hvd_train.evaluation import TextTable
from hvd_train.runs.page import comparison, tables
from hvd_train.runs.page.document import Section, error_charts, figures, rendered
from hvd_train.runs.page.evaluated import Evaluated

if TYPE_CHECKING:
    from hvd_train.runs.ensemble_report import EnsembleReport
    from hvd_train.runs.report import Report

TOGETHER = "ensemble"


def ensemble_page(report: EnsembleReport, name: str, members: Sequence[tuple[str, Report]]) -> str:
    """The page, as HTML. `members`: those whose reports can be read, by name."""
    facts = [
        *figures(report),
        ("members", str(len(report.members))),
        ("trained in", tables.seconds(report.train_seconds)),
    ]
    when = f" of {report.date}" if report.date else ""
    footer = f"Ensemble{when}, hvd_train {report.versions.get('hvd_train', '')}."
    return rendered(name, f"The model is {report.verdict}.", facts, _sections(report, members), footer)


def _sections(report: EnsembleReport, members: Sequence[tuple[str, Report]]) -> list[Section]:
    beside: list[tuple[str, Evaluated]] = [(TOGETHER, report), *members]
    sections = [
        Section("Results", tables=[tables.results(report, split) for split in ("test", "val")]),
        Section("The ensemble and its members, on the test split", tables=comparison.results(beside)),
        Section("Where it errs, on the test split", charts=error_charts(report), tables=tables.errors(report)),
    ]
    if members:
        sections += [
            Section("Learning curves of the members", charts=comparison.curves(members)),
            Section("What differs in the settings of the members", **comparison.differences(members)),
            Section("Cost of the members", tables=[comparison.cost(members)]),
        ]
    return [*sections, Section("Ranks and time", tables=_course(report))]


def _course(report: EnsembleReport) -> list[TextTable]:
    rows = [
        [member, tables.seconds(seconds)] for member, seconds in zip(report.members, report.member_seconds, strict=True)
    ]
    times = TextTable(
        "Times", ["", "seconds"], [*rows, ["averaging and evaluation", tables.seconds(report.join_seconds)]], [1]
    )
    return [times, *tables.ranks(report.ranks)]
