"""Several runs beside each other: curves over each other, and tables of what differs. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hvd_train.evaluation import TextTable, metric_named
from hvd_train.runs.page import charts
from hvd_train.runs.page.evaluated import Evaluated
from hvd_train.runs.page.tables import cell, flattened, seconds

if TYPE_CHECKING:
    from hvd_train.runs.report import Report

Runs = Sequence[tuple[str, "Report"]]


def results(runs: Sequence[tuple[str, Evaluated]]) -> list[TextTable]:
    """A row for each metric, a column for each run; the best figure is marked."""
    names = dict.fromkeys(name for _, report in runs for name in report.metrics["test"])
    rows = []
    for name in names:
        metric = metric_named(name)
        known = {run: report.metrics["test"][name] for run, report in runs if name in report.metrics["test"]}
        best = (max if metric.higher_is_better else min)(known.values())
        cells = [
            "-" if run not in known else metric.shown(known[run]) + (" (best)" if known[run] == best else "")
            for run, _ in runs
        ]
        rows.append([metric.title, *cells])
    different = len({report.data_checksum for _, report in runs}) > 1
    title = "Not the same data: these figures cannot be compared" if different else ""
    return [TextTable(title, ["metric", *(name for name, _ in runs)], rows, range(1, len(runs) + 1))]


def curves(runs: Runs) -> list[str]:
    """The training loss and each validation metric by epoch, a line for each run."""
    columns = dict.fromkeys(
        name
        for _, report in runs
        for row in report.history[:1]
        for name in row
        if name == "loss" or name.startswith("val_")
    )
    pictures = []
    for column in columns:
        metric = metric_named(column.removeprefix("val_"))
        lines = {name: charts.metric_lines(report.history, column) for name, report in runs}
        split = "training" if column == "loss" else "validation"
        pictures.append(
            charts.by_epoch({name: line for name, line in lines.items() if line[0]}, title=f"{metric.title}, {split}")
        )
    rates = {name: charts.metric_lines(report.history, "samples_per_s") for name, report in runs}
    return [*pictures, charts.by_epoch(rates, title="Throughput", unit="samples/s over all ranks")]


def differences(runs: Runs) -> dict[str, Any]:
    """The settings whose values are not the same in all runs, for a Section."""
    settings = [flattened(report.config) for _, report in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    different = [name for name in names if any(one.get(name) != settings[0].get(name) for one in settings)]
    if not different:
        return {"text": "All settings are the same."}
    rows = [[name, *(cell(one.get(name)) for one in settings)] for name in different]
    return {"tables": [TextTable("", ["setting", *(name for name, _ in runs)], rows)]}


def cost(runs: Runs) -> TextTable:
    """Ranks, epochs, times and rates."""
    what: dict[str, Callable[[Report], str]] = {
        "ranks": lambda report: f"{report.size} on {', '.join(report.hosts)}",
        "epochs, the best": lambda report: f"{report.epochs}, {report.best_epoch}",
        "trained in": lambda report: seconds(report.train_seconds),
        "in total": lambda report: seconds(report.wall_seconds),
        "samples/s over all ranks": lambda report: f"{report.samples_per_s:,.0f}",
        "model": lambda report: report.facts.get("model", "-"),
        "date": lambda report: report.date,
    }
    rows = [[name, *(value(report) for _, report in runs)] for name, value in what.items()]
    return TextTable("", ["", *(name for name, _ in runs)], rows)
