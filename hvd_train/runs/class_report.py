"""Classes as people look at them: a table of recall by class, confusion.csv and confusion.png. Only the root writes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from hvd_train.files import write_text
from hvd_train.runs.directory import RunDir

# A terminal shows so many classes; of more, the few that are recognised worst. report.json has all.
MOST_CLASSES_SHOWN, NUM_WORST_SHOWN = 20, 10
MOST_PAIRS_SHOWN = 3
# A picture has readable names for so many classes, and numbers in its cells for so many.
MOST_CLASSES_DRAWN, MOST_CLASSES_NUMBERED = 120, 15


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


def write_confusion(details: dict[str, Any], run_dir: RunDir, *, title: str) -> None:
    """confusion.csv and, where there are not too many classes to read, confusion.png. Root only."""
    if "confusion" not in details:
        return
    names, counts = [row["label"] for row in details["classes"]], np.array(details["confusion"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label \\ predicted", *names])
    writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
    write_text(run_dir.confusion, text.getvalue())
    if len(names) <= MOST_CLASSES_DRAWN:
        confusion_picture(names, counts, run_dir.confusion_picture, title=title)


def confusion_picture(names: list[Any], counts_KK: np.ndarray, path: Path, *, title: str) -> None:
    """Each class's test rows by what was predicted, as shares of the class. Root only."""
    from matplotlib.figure import Figure

    K = len(names)
    side = min(4.5 + 0.16 * K, 18.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    # A name is a name: a dollar sign in it begins no formula.
    labels = [str(name).replace("$", r"\$")[:30] for name in names]
    size = "medium" if K <= MOST_CLASSES_NUMBERED else 7 if K <= 50 else 5
    axes.set_xticks(range(K), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(K), labels, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    if K <= MOST_CLASSES_NUMBERED:
        for true, said in np.ndindex(K, K):
            colour = "white" if shares[true, said] > 0.6 else "black"
            axes.text(
                said, true, f"{counts_KK[true, said]:,}", ha="center", va="center", color=colour, fontsize="small"
            )
    figure.colorbar(image, label="share of the class's rows", shrink=0.6, fraction=0.04)
    figure.suptitle(f"{title}: test rows by label and prediction", fontsize="medium")
    figure.savefig(path, dpi=120)


def _confused(details: dict[str, Any]) -> str:
    pairs = details.get("most_confused", [])[:MOST_PAIRS_SHOWN]
    shown = ", ".join(f"{pair['label']} as {pair['predicted']} ({pair['rows']:,})" for pair in pairs)
    return escape(f"most often confused: {shown}") if shown else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"
