"""The tables that end a run or an evaluation: figures beside their baselines, and where the model errs. Root only."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from hvd_train.cli.live_terminal import plain_or_live
from hvd_train.evaluation import metric_named
from hvd_train.text import shown

# A terminal shows so many classes; of more, the few that are recognised worst. report.json has all.
MOST_CLASSES_SHOWN, NUM_WORST_SHOWN = 20, 10
MOST_PAIRS_SHOWN = 3


def print_evaluation(result: dict[str, Any]) -> None:
    """The result of `hvd-train evaluate`."""
    console = plain_or_live()
    console.print(
        results_table(result["metrics"], result["baselines"], result["optimum"], title=f"{result['rows']:,} rows")
    )
    for table in details_tables(result["details"]):
        console.print(table)
    for note in result.get("remarks", ()):
        console.print(f"Note: {note}.", markup=False)
    if result.get("rows_without_label"):
        console.print(f"Note: rows without a label, left out: {result['rows_without_label']:,}.", markup=False)
    console.print(f"The model is {result['verdict']}.", markup=False)


def results_table(
    figures: dict[str, float], baselines: dict[str, float], optimum: dict[str, float], *, title: str
) -> Table:
    """Each metric beside its trivial baseline and, where it is known, the best that is possible."""
    table = Table(title=title, title_justify="left")
    headings = ["metric", "model", "trivial baseline", *(["best possible"] if optimum else []), ""]
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("metric", "") else "right", no_wrap=True)
    for name, value in figures.items():
        metric = metric_named(name)
        best = [metric.shown(optimum[name]) if name in optimum else ""] if optimum else []
        cells = [metric.title, metric.shown(value), metric.shown(baselines[name]), *best]
        table.add_row(*cells, "better" if metric.beats(value, baselines[name]) else "NO BETTER")
    return table


def details_tables(details: dict[str, Any]) -> list[Table]:
    """Where the model errs: by decade, or by class; none for real values."""
    tables = [decades_table(details)] if "decades" in details else []
    return tables + ([classes_table(details)] if "classes" in details else [])


def decades_table(details: dict[str, Any]) -> Table:
    """Errors decade by decade, and as means in which each label counts alike however many rows it has."""
    caption = f"mean over labels of their mean abs. error {shown(details['balanced_mae'])}; mean over decades of their accuracy {100 * details['macro_accuracy_by_decade']:.2f} %"
    if "expected_calibration_error" in details:
        caption += f"; calibration error {details['expected_calibration_error']:.4f}"
    table = Table(title="By decade", title_justify="left", caption=caption, caption_justify="left")
    for heading in (
        "decade",
        "train rows",
        "rows",
        *(metric_named(name).title for name in ("mae", "rmse")),
        "right decade",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in details["decades"]:
        table.add_row(
            str(row["decade"]),
            f"{row['train_rows']:,}",
            f"{row['rows']:,}",
            shown(row["mae"]),
            shown(row["rmse"]),
            f"{100 * row['decade_accuracy']:.2f} %",
        )
    return table


def published_table(published: dict[str, float], rmse: float) -> Table:
    """This run among the figures that others published for the same split, the best last."""
    table = Table(title="YearPredictionMSD, official split", title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column(metric_named("rmse").title, justify="right", no_wrap=True)
    for name, figure in sorted({**published, "this run": rmse}.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{figure:.3f}", style="bold" if name == "this run" else None)
    return table


def classes_table(details: dict[str, Any]) -> Table:
    """Recall, precision, F1 and AUC class by class, from `class_metrics`; of many classes those with the least recall."""
    classes, title = details["classes"], "By class"
    if len(classes) > MOST_CLASSES_SHOWN:
        seen = [row for row in classes if row["rows"]]
        classes = sorted(seen, key=lambda row: row["recall"])[:NUM_WORST_SHOWN]
        title = f"By class: the {len(classes)} of {len(details['classes'])} with the least recall (report.json has all)"
    table = Table(title=title, title_justify="left", caption=_confused(details), caption_justify="left")
    table.add_column("class", no_wrap=True)
    for heading in ("train rows", "rows", "recall", "precision", "F1", "AUC"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in classes:
        table.add_row(
            escape(str(row["label"])),
            f"{row['train_rows']:,}",
            f"{row['rows']:,}",
            *(_percent(row[name]) for name in ("recall", "precision")),
            *("" if row[name] is None else f"{row[name]:.4f}" for name in ("f1", "auc")),
        )
    return table


def _confused(details: dict[str, Any]) -> str:
    pairs = details.get("most_confused", [])[:MOST_PAIRS_SHOWN]
    shown = ", ".join(f"{pair['label']} as {pair['predicted']} ({pair['rows']:,})" for pair in pairs)
    return escape(f"most often confused: {shown}") if shown else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"
