"""The tables of the page of a run: headings, and rows of text. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hvd_train.config import Split
from hvd_train.evaluation import metric_named
from hvd_train.text import clock, shown

if TYPE_CHECKING:
    from hvd_train.runs.report import Report

MOST_CLASSES = 30
MIB = 2**20


@dataclass(frozen=True)
class Table:
    """Cells are text. `numbers` are the columns that are set to the right."""

    title: str
    headings: Sequence[str]
    rows: list[list[str]]
    numbers: Sequence[int] = field(default=())
    good: Mapping[int, bool] = field(default_factory=dict)
    """By row: whether its last cell is good news. Others are neutral."""
    folded: bool = False
    """Whether the reader unfolds it."""


def seconds(value: float | None) -> str:
    """A length of time to read."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.1f} s" if value < 120 else clock(round(value))


def results(report: Report, split: Split) -> Table:
    """Each metric of a split beside its trivial baseline and, where it is known, the best that is possible."""
    optimum = report.optimum[split]
    headings = ["metric", "model", "trivial baseline", *(["best possible"] if optimum else []), ""]
    rows, good = [], {}
    for number, (name, value) in enumerate(report.metrics[split].items()):
        metric, baseline = metric_named(name), report.baselines[split][name]
        best = [metric.shown(optimum[name]) if name in optimum else ""] if optimum else []
        good[number] = metric.beats(value, baseline)
        verdict = "better" if good[number] else "no better"
        rows.append([metric.title, metric.shown(value), metric.shown(baseline), *best, verdict])
    count = f"{report.rows[split]:,} rows"
    title = {"test": f"Test split, {count}", "val": f"Validation split, {count}"}.get(split, split)
    return Table(title, headings, rows, numbers=range(1, len(headings) - 1), good=good)


def errors(report: Report) -> list[Table]:
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
        found.append(Table("By how often a label was seen in training", headings, rows, range(1, len(headings))))
    if "decades" in details:
        names = ["mae", "rmse", "decade_accuracy"]
        rows = [
            [str(row["decade"]), f"{row['train_rows']:,}", f"{row['rows']:,}", *_figures(row, names)]
            for row in details["decades"]
        ]
        headings = ["decade", "train rows", "rows", *map(_title, names)]
        found.append(Table("By decade", headings, rows, range(1, len(headings))))
    if "classes" in details:
        found.append(_classes(details["classes"]))
    return found


def _classes(classes: Sequence[Mapping[str, Any]]) -> Table:
    seen = sorted((row for row in classes if row["rows"]), key=lambda row: row["recall"])
    some = seen[:MOST_CLASSES]
    title = "By class" if len(some) == len(seen) else f"By class: the {len(some)} of {len(seen)} with the least recall"
    rows = [
        [
            str(row["label"]),
            f"{row['train_rows']:,}",
            f"{row['rows']:,}",
            *("" if row[name] is None else f"{100 * row[name]:.1f} %" for name in ("recall", "precision")),
            *("" if row[name] is None else f"{row[name]:.4f}" for name in ("f1", "auc")),
        ]
        for row in some
    ]
    return Table(
        title, ["class", "train rows", "rows", "recall", "precision", "F1", "AUC"], rows, range(1, 7), folded=True
    )


def published(report: Report) -> list[Table]:
    """This run among the figures that others published for the same split, the best last."""
    if not report.published:
        return []
    figures = {**report.published, "this run": report.metrics["test"]["rmse"]}
    rows = [[name, f"{figure:.3f}"] for name, figure in sorted(figures.items(), key=lambda item: -item[1])]
    return [Table("YearPredictionMSD, official split", ["model", metric_named("rmse").title], rows, [1])]


def course(report: Report) -> list[Table]:
    """Times, hosts and ranks, and the starts under a supervisor."""
    times = [
        ["start of Python, TensorFlow and Horovod", seconds(report.import_seconds)],
        ["from then to the first steps", seconds(report.first_steps_seconds)],
        ["training", seconds(report.train_seconds)],
        ["from the start of the run to its end", seconds(report.wall_seconds)],
    ]
    found = [Table("Times", ["", "seconds"], [row for row in times if row[1]], [1])]
    if report.ranks:
        rows = [
            [str(one["rank"]), one["host"], _mib(one["peak_memory_bytes"]), seconds(one["cpu_seconds"])]
            for one in report.ranks
        ]
        found.append(Table("Ranks", ["rank", "host", "peak memory", "CPU time"], rows, [0, 2, 3]))
    if report.gradient_bytes:
        total = report.gradient_bytes * report.steps
        rows = [["gradients of a step", _mib(report.gradient_bytes)], ["of all steps", _mib(total)]]
        found.append(Table("Averaged over the ranks", ["", "size"], rows, [1]))
    if report.starts:
        names = list(report.starts[0])
        rows = [[cell(start.get(name)) for name in names] for start in report.starts]
        found.append(Table("Starts under hvd-train supervise", names, rows, folded=len(rows) > 8))
    return found


def settings(report: Report) -> list[Table]:
    """What was trained on what, and everything that was set."""
    flat = flattened(report.config)
    return [
        Table("", ["", ""], [[name, value] for name, value in report.facts.items()]),
        Table("Configuration (config.toml)", ["setting", "value"], [[k, cell(v)] for k, v in flat.items()], folded=True),
        Table("Settings of the processes", ["setting", "value"],
              [[k, cell(v)] for k, v in flattened(report.settings).items()], folded=True),
        Table("Versions", ["package", "version"], [[k, v] for k, v in report.versions.items()], folded=True),
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
    return [f"{100 * row[name]:.1f} %" if name.endswith("accuracy") else shown(row[name]) for name in names]


def _mib(value: float) -> str:
    return f"{value / MIB:,.1f} MiB"


def cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {cell(one)}" for key, one in value.items()) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
