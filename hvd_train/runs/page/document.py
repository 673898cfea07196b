"""The page of one run, and that of several: what stands on it, from reports. Pure functions; nothing reads or writes files."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hvd_train.evaluation import TextTable, metric_named
from hvd_train.runs.page import charts, comparison, tables
from hvd_train.runs.page.evaluated import Evaluated

if TYPE_CHECKING:
    import jinja2

    from hvd_train.runs.report import Report


@dataclass(frozen=True)
class Section:
    """A heading with charts and tables below it, in this order."""

    title: str
    charts: list[str] = field(default_factory=list)
    tables: list[TextTable] = field(default_factory=list)
    text: str = ""


def run_page(report: Report, name: str) -> str:
    """The page of a complete run, as HTML. `name` is that of its directory."""
    return rendered(name, f"The model is {report.verdict}.", _headline(report), _sections(report), _footer(report))


def comparison_page(runs: Sequence[tuple[str, Report]]) -> str:
    """A page with two or more runs beside each other, by name, as HTML."""
    sections = [
        Section("Results on the test split", tables=comparison.results(runs)),
        Section("Learning curves", charts=comparison.curves(runs)),
        Section("What differs in the settings", **comparison.differences(runs)),
        Section("Cost", tables=[comparison.cost(runs)]),
    ]
    names = ", ".join(name for name, _ in runs)
    footer = f"Made by hvd_train {runs[0][1].versions.get('hvd_train', '')}."
    return rendered(f"{len(runs)} runs", names, [], sections, footer)


def rendered(title: str, lead: str, facts: Sequence[tuple[str, str]], sections: Sequence[Section], footer: str) -> str:
    """A page, as HTML, without sections that are empty. `facts`: figures that are seen first, by name."""
    filled = [section for section in sections if section.charts or section.tables or section.text]
    return _template().render(title=title, lead=lead, facts=facts, sections=filled, footer=footer)


def figures(report: Evaluated) -> list[tuple[str, str]]:
    """The main metric of the test split, and the validation loss: name and value."""
    main = next(iter(report.metrics["test"])) if "rmse" not in report.metrics["test"] else "rmse"
    shown = [(main, "test"), ("loss", "val")]
    return [
        (f"{metric_named(name).title}, {split}", metric_named(name).shown(report.metrics[split][name]))
        for name, split in shown
        if name in report.metrics[split]
    ]


def _headline(report: Report) -> list[tuple[str, str]]:
    """Figures that are seen first: name and value."""
    return [
        *figures(report),
        ("best epoch", f"{report.best_epoch} of {report.epochs}{_monitored(report)}"),
        ("ranks", f"{report.size} on {len(report.hosts)} host{'s' if len(report.hosts) > 1 else ''}"),
        ("trained in", tables.seconds(report.train_seconds)),
        ("throughput", f"{report.samples_per_s:,.0f} samples/s"),
    ]


def _monitored(report: Report) -> str:
    """What chose the best epoch, where that was not the validation loss."""
    monitor = report.config.get("training", {}).get("monitor", "val_loss")
    return "" if monitor == "val_loss" else f" by {monitor}"


def _sections(report: Report) -> list[Section]:
    return [
        Section("Results", tables=[tables.results(report, split) for split in ("test", "val")]),
        Section("Learning curves", charts=_curves(report)),
        Section("Where it errs, on the test split", charts=error_charts(report), tables=tables.errors(report)),
        Section("Published results", tables=tables.published(report)),
        Section("Ranks and time", charts=_throughput(report), tables=tables.course(report)),
        Section("Notes of the run", text="\n".join(report.notes)),
        Section("Data, model and settings", tables=tables.settings(report)),
    ]


def _curves(report: Report) -> list[str]:
    history = report.history
    if not history:
        return []
    lines = {"train": charts.metric_lines(history, "loss"), "validation": charts.metric_lines(history, "val_loss")}
    pictures = [
        charts.by_epoch(lines, title="Loss", levels=_levels(report, "loss"), best_epoch=report.best_epoch),
    ]
    for name in report.metrics["val"]:
        values = charts.metric_lines(history, f"val_{name}")
        if name == "loss" or not values[0]:
            continue
        metric = metric_named(name)
        pictures.append(
            charts.by_epoch(
                {"validation": values},
                title=metric.title,
                unit="in the unit of the label" if metric.unit == "label" else "",
                levels=_levels(report, name),
                best_epoch=report.best_epoch,
            )
        )
    rate = charts.metric_lines(history, "learning_rate")
    return [*pictures, charts.by_epoch({"learning rate": rate}, title="Learning rate")]


def _levels(report: Report, name: str) -> dict[str, float]:
    known = {"trivial baseline": report.baselines["val"], "best possible": report.optimum["val"]}
    return {what: figures[name] for what, figures in known.items() if name in figures}


def error_charts(report: Evaluated) -> list[str]:
    """Pictures of where the model errs on the test split."""
    details, pictures = report.details["test"], []
    if grid := details.get("predicted_against_true"):
        pictures.append(charts.predicted_against_true(grid["edges"], grid["rows"]))
    if "decades" in details:
        pictures.append(charts.error_by_label(details["decades"], metric=metric_named("mae")))
    if "reliability" in details:
        pictures.append(charts.reliability(details["reliability"], details["expected_calibration_error"]))
    if "confusion" in details:
        pictures.append(charts.confusion(details["confusion"], [str(row["label"]) for row in details["classes"]]))
    return pictures


def _throughput(report: Report) -> list[str]:
    return [charts.throughput(report.history)] if len(report.history) > 1 else []


def _footer(report: Report) -> str:
    day = datetime.datetime.fromisoformat(report.date)
    commit = str(report.git.get("commit") or "")[:10]
    source = f", git {commit}{' with changes' if report.git.get('dirty') else ''}" if commit else ""
    return (
        f"Run of {day:%Y-%m-%d %H:%M} {day.tzname() or ''}, hvd_train {report.versions.get('hvd_train', '')}{source}."
    )


@functools.lru_cache
def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.PackageLoader("hvd_train.runs.page", package_path="")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.jinja")
