"""The confusion matrix of a run: confusion.csv and confusion.png. Only the root writes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.files import write_text
from hvd_train.runs.directory import RunDir

# A picture has readable names for so many classes, and numbers in its cells for so many.
MOST_CLASSES_DRAWN, MOST_CLASSES_NUMBERED = 120, 15


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
        for true, predicted in np.ndindex(K, K):
            colour = "white" if shares[true, predicted] > 0.6 else "black"
            number = f"{counts_KK[true, predicted]:,}"
            axes.text(predicted, true, number, ha="center", va="center", color=colour, fontsize="small")
    figure.colorbar(image, label="share of the class's rows", shrink=0.6, fraction=0.04)
    figure.suptitle(f"{title}: test rows by label and prediction", fontsize="medium")
    figure.savefig(path, dpi=120)
