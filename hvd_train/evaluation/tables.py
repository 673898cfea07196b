"""The tables of an evaluation as text: for a terminal and for the page of a run. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hvd_train.evaluation.metrics import metric_named
from hvd_train.text import shown

THIS_RUN = "this run"
MOST_PAIRS_SHOWN = 3


@dataclass(frozen=True)
class TextTable:
    """Headings, and rows of cells."""

    title: str
    headings: Sequence[str]
    rows: list[list[str]]
    numbers: Sequence[int] = ()
    """The columns that are set to the right."""
    good: Mapping[int, bool] = field(default_factory=dict)
    """By row: whether its last cell is good news. Others are neutral."""
    caption: str = ""
    folded: bool = False
    """Whether it is long, so that a page shows it when the reader asks for it."""


def results(
    figures: Mapping[str, float], baselines: Mapping[str, float], optimum: Mapping[str, float], *, title: str
) -> TextTable:
    """Each metric beside its trivial baseline and, where it is known, the best that is possible."""
    headings = ["metric", "model", "trivial baseline", *(["best possible"] if optimum else []), ""]
    rows, good = [], {}
    for number, (name, value) in enumerate(figures.items()):
        metric = metric_named(name)
        best = [metric.shown(optimum[name]) if name in optimum else ""] if optimum else []
        good[number] = metric.beats(value, baselines[name])
        verdict = "better" if good[number] else "NO BETTER"
        rows.append([metric.title, metric.shown(value), metric.shown(baselines[name]), *best, verdict])
    return TextTable(title, headings, rows, range(1, len(headings) - 1), good)


def decades(details: Mapping[str, Any]) -> TextTable:
    """Errors decade by decade, and as means in which each label counts alike however many rows it has."""
    caption = (
        f"mean over labels of their mean abs. error {shown(details['balanced_mae'])}; "
        f"mean over decades of their accuracy {percent(details['macro_accuracy_by_decade'])}"
    )
    if "expected_calibration_error" in details:
        caption += f"; calibration error {details['expected_calibration_error']:.4f}"
    titles = [metric_named(name).title for name in ("mae", "rmse")]
    headings = ["decade", "train rows", "rows", *titles, "right decade"]
    rows = [
        [
            str(row["decade"]),
            f"{row['train_rows']:,}",
            f"{row['rows']:,}",
            shown(row["mae"]),
            shown(row["rmse"]),
            percent(row["decade_accuracy"]),
        ]
        for row in details["decades"]
    ]
    return TextTable("By decade", headings, rows, range(len(headings)), caption=caption)


def classes(details: Mapping[str, Any], *, most: int, worst: int) -> TextTable:
    """Recall, precision, F1 and AUC class by class, from `class_metrics`; of more than `most` classes the `worst` by recall."""
    chosen, title = details["classes"], "By class"
    if len(chosen) > most:
        seen = [row for row in chosen if row["rows"]]
        chosen = sorted(seen, key=lambda row: row["recall"])[:worst]
        title = f"By class: the {len(chosen)} of {len(details['classes'])} with the least recall (report.json has all)"
    headings = ["class", "train rows", "rows", "recall", "precision", "F1", "AUC"]
    rows = [
        [
            str(row["label"]),
            f"{row['train_rows']:,}",
            f"{row['rows']:,}",
            *(percent(row[name]) for name in ("recall", "precision")),
            *("" if row[name] is None else f"{row[name]:.4f}" for name in ("f1", "auc")),
        ]
        for row in chosen
    ]
    pairs = details.get("most_confused", [])[:MOST_PAIRS_SHOWN]
    confused = ", ".join(f"{pair['label']} as {pair['predicted']} ({pair['rows']:,})" for pair in pairs)
    caption = f"most often confused: {confused}" if confused else ""
    return TextTable(title, headings, rows, range(1, len(headings)), caption=caption, folded=True)


def published(others: Mapping[str, float], rmse: float) -> TextTable:
    """THIS_RUN among the figures that others published for the same split, the best last."""
    figures = {**others, THIS_RUN: rmse}
    rows = [[name, f"{figure:.3f}"] for name, figure in sorted(figures.items(), key=lambda item: -item[1])]
    return TextTable("YearPredictionMSD, official split", ["model", metric_named("rmse").title], rows, [1])


def percent(value: float | None) -> str:
    """A share with two decimals; nothing where there is none."""
    return "" if value is None else f"{100 * value:.2f} %"
