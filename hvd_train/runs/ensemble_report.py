"""report.json and report.html of an ensemble. Only the root writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hvd_train.errors import UserError
from hvd_train.files import strict, write_json, write_text
from hvd_train.runs.directory import RunDir
from hvd_train.runs.page import ensemble_page
from hvd_train.runs.report import WAY_OUT, Report, read_document, read_report

MOST_MEMBERS = 8
"""On the page each member has a column and a line. It shows so many, the first ones."""


@dataclass(frozen=True, kw_only=True)
class EnsembleReport:
    """Everything about the average of several runs. The same on every rank, but for the times."""

    members: list[str]
    """The directories of the runs."""
    metrics: dict[str, dict[str, float]]
    """By split ("val", "test"), then by name. So are the next two."""
    baselines: dict[str, dict[str, float]]
    optimum: dict[str, dict[str, float]]
    details: dict[str, dict[str, Any]]
    verdict: str
    data_checksum: str
    rows: dict[str, int] = field(default_factory=dict)
    """In each split."""
    versions: dict[str, str]
    join_seconds: float
    """For the average and its evaluation."""
    train_seconds: float
    """Of all members, without what lies around training."""
    member_seconds: list[float]
    """From the start of each member to its end."""
    size: int
    ranks: list[dict[str, Any]]
    """Of each: "rank", "host", "peak_memory_bytes" and "cpu_seconds", of the process that averaged."""
    date: str = ""


def times_of(runs: list[RunDir]) -> dict[str, Any]:
    """How long the members took, as their reports have it. A run whose report is gone counts as 0. Root only."""
    reports = [strict.loads(run.report.read_bytes()) if run.report.is_file() else {} for run in runs]
    times = {key: [float(one.get(key) or 0.0) for one in reports] for key in ("train_seconds", "wall_seconds")}
    return {"train_seconds": sum(times["train_seconds"]), "member_seconds": times["wall_seconds"]}


def write_ensemble_report(report: EnsembleReport, run_dir: RunDir) -> None:
    """report.json, then report.html. Root only."""
    write_json(run_dir.report, asdict(report))
    write_ensemble_page(report, run_dir)


def write_ensemble_page(report: EnsembleReport, run_dir: RunDir, *, out: Path | None = None) -> None:
    """report.html, or `out`. Root only."""
    write_text(out or run_dir.page, ensemble_page(report, run_dir.path.resolve().name, members_of(report)))


def read_ensemble_report(run_dir: RunDir) -> EnsembleReport | None:
    """The report of an ensemble; None where report.json is that of a run. UserError where it cannot be read. Root only."""
    document = read_document(run_dir)
    if "members" not in document:
        return None
    try:
        return EnsembleReport(
            **{one.name: document[one.name] for one in fields(EnsembleReport) if one.name in document}
        )
    except TypeError as error:
        raise UserError(strict.damage(run_dir.report, error, WAY_OUT)) from None


def members_of(report: EnsembleReport) -> list[tuple[str, Report]]:
    """The first members whose reports can still be read, by the names of their directories. Root only."""
    found: list[tuple[str, Report]] = []
    for path in map(Path, report.members[:MOST_MEMBERS]):
        try:
            found.append((path.resolve().name, read_report(RunDir(path))))
        except UserError:
            continue  # moved or deleted since
    return found
