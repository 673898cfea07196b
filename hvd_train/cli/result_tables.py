"""The tables that end a run or an evaluation: figures beside their baselines, and where the model errs. Root only."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from hvd_train.cli.live_terminal import plain_or_live
from hvd_train.evaluation import tables

# A terminal shows so many classes; of more, the few that are recognised worst. report.json has all.
MOST_CLASSES_SHOWN, NUM_WORST_SHOWN = 20, 10


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
    return _drawn(tables.results(figures, baselines, optimum, title=title))


def details_tables(details: dict[str, Any]) -> list[Table]:
    """Where the model errs: by decade, or by class; none for real values."""
    found = [_drawn(tables.decades(details))] if "decades" in details else []
    return found + ([classes_table(details)] if "classes" in details else [])


def published_table(published: dict[str, float], rmse: float) -> Table:
    """This run among the figures that others published for the same split, the best last."""
    return _drawn(tables.published(published, rmse))


def classes_table(details: dict[str, Any]) -> Table:
    """Class by class; of many classes those with the least recall."""
    return _drawn(tables.classes(details, most=MOST_CLASSES_SHOWN, worst=NUM_WORST_SHOWN))


def _drawn(text: tables.TextTable) -> Table:
    """The table as a terminal shows it."""
    caption = {"caption": escape(text.caption), "caption_justify": "left"} if text.caption else {}
    table = Table(title=text.title, title_justify="left", **caption)  # type: ignore[arg-type]
    for number, heading in enumerate(text.headings):
        table.add_column(heading, justify="right" if number in text.numbers else "left", no_wrap=True)
    for row in text.rows:
        table.add_row(*map(escape, row), style="bold" if row[0] == tables.THIS_RUN else None)
    return table
