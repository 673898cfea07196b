"""The tables of the page of a run: headings, and rows of text. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hvd_train.config import Split
from hvd_train.evaluation import TextTable, metric_named, tables
from hvd_train.runs.page.evaluated import Evaluated
from hvd_train.text import clock, memory, shown

if TYPE_CHECKING:
    from hvd_train.runs.report import Report

MOST_CLASSES = 30


def seconds(value: float | None) -> str:
    """A length of time to read."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.1f} s" if value < 120 else clock(round(value))


def results(report: Evaluated, split: Split) -> TextTable:
    """Each metric of a split beside its trivial baseline and, where it is known, the best that is possible."""
    count = f", {report.rows[split]:,} rows" if split in report.rows else ""
    title = {"test": f"Test split{count}", "val": f"Validation split{count}"}.get(split, split)
    return tables.results(report.metrics[split], report.baselines[split], report.optimum[split], title=title)


def errors(report: Evaluated) -> list[TextTable]:
    """By range of the label, by how often a label was seen, by class."""
    details, found = report.details["test"], []
    if "shots" in details:
        known = list(next(iter(details["shots"].values())))
        names = [name for name in known if name not in ("labels", "train_rows", "rows")]
        rows = [
            [f"{group} train rows", *(f"{row[name]:,}" for name in ("labels", "train_rows", "rows")), *_figures(row, names)]
            for group, row in details["shots"].items()
        ]  # fmt: skip
        headings = ["labels with", "labels", "train rows", "rows", *map(_title, names)]
        found.append(TextTable("By how often a label was seen in training", headings, rows, range(1, len(headings))))
    if "decades" in details:
        found.append(tables.decades(details))
    if "classes" in details:
        found.append(tables.classes(details, most=MOST_CLASSES, worst=MOST_CLASSES))
    return found


def published(report: Report) -> list[TextTable]:
    """This run among the figures that others published for the same split, the best last."""
    return [tables.published(report.published, report.metrics["test"]["rmse"])] if report.published else []


def course(report: Report) -> list[TextTable]:
    """Times, hosts and ranks, and the starts under a supervisor."""
    last, every = ("", "")
    if report.sessions > 1:  # what a session did after its last checkpoint is done again, and counted then
        last, every = " (last session)", f" (all {report.sessions} sessions)"
    times = [
        [f"start of Python, TensorFlow and Horovod{last}", seconds(report.import_seconds)],
        [f"from then to the first steps{last}", seconds(report.first_steps_seconds)],
        [f"training{every}", seconds(report.train_seconds)],
        [f"from the start of the run to its end{every}", seconds(report.wall_seconds)],
    ]
    found = [TextTable("Times", ["", "seconds"], [row for row in times if row[1]], [1])]
    found += ranks(report.ranks, title=f"Ranks{last}")
    if report.gradient_bytes:
        total = report.gradient_bytes * report.steps
        rows = [["gradients of a step", memory(report.gradient_bytes)], ["of all steps", memory(total)]]
        found.append(TextTable("Averaged over the ranks", ["", "size"], rows, [1]))
    if report.starts:
        names = list(report.starts[0])
        rows = [[cell(start.get(name)) for name in names] for start in report.starts]
        found.append(TextTable("Starts under hvd-train supervise", names, rows, folded=len(rows) > 8))
    return found


def ranks(of_ranks: Sequence[Mapping[str, Any]], *, title: str = "Ranks") -> list[TextTable]:
    """Host, memory and CPU time of each rank; nothing where none is known."""
    rows = [
        [str(one["rank"]), one["host"], memory(one["peak_memory_bytes"]), seconds(one["cpu_seconds"])]
        for one in of_ranks
    ]
    return [TextTable(title, ["rank", "host", "peak memory", "CPU time"], rows, [0, 2, 3])] if rows else []


def settings(report: Report) -> list[TextTable]:
    """What was trained on what, and everything that was set."""
    flat = flattened(report.config)
    return [
        TextTable("", ["", ""], [[name, value] for name, value in report.facts.items()]),
        TextTable("Configuration (config.toml)", ["setting", "value"], [[k, cell(v)] for k, v in flat.items()], folded=True),
        TextTable("Settings of the processes", ["setting", "value"],
              [[k, cell(v)] for k, v in flattened(report.settings).items()], folded=True),
        TextTable("Versions", ["package", "version"], [[k, v] for k, v in report.versions.items()], folded=True),
    ]  # fmt: skip


def flattened(document: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{name}.")
        else:
            found[name] = value
    return found


def _title(name: str) -> str:
    return {"decade_accuracy": "right decade", "accuracy": "accuracy"}.get(name) or metric_named(name).title


def _figures(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [tables.percent(row[name]) if name.endswith("accuracy") else shown(row[name]) for name in names]


def cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {cell(one)}" for key, one in value.items()) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
