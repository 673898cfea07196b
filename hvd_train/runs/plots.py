"""The pictures of a run: its learning curve, and where the model errs. Only the root draws."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvd_train.evaluation import metric_named

if TYPE_CHECKING:
    from hvd_train.runs.report import Report


def learning_curve(report: Report, path: Path) -> None:
    """Loss and, where there is one, the error or accuracy over epochs, with the trivial baseline and the best epoch."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    history = report.history
    epochs = [row["epoch"] for row in history]
    second = "rmse" if "val_rmse" in history[0] else "accuracy"
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in history], marker=".", label="train")
    left.plot(epochs, [row["val_loss"] for row in history], marker=".", label="validation")
    right.plot(epochs, [row[f"val_{second}"] for row in history], marker=".", color="C1", label="validation")
    for axes, name in ((left, "loss"), (right, second)):
        axes.axhline(report.baselines["val"][name], color="gray", linestyle="--", label="trivial baseline")
        if name in report.optimum["val"]:
            axes.axhline(report.optimum["val"][name], color="green", linestyle="-.", label="best possible")
        axes.axvline(
            report.best_epoch, color="gray", linestyle=":", linewidth=1, label=f"best epoch ({report.best_epoch})"
        )
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(metric_named(name).title)
        if metric_named(name).unit == "label":
            axes.set_ylabel("in the unit of the label")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.suptitle(
        f"{report.facts['model']}; {report.size} rank{'s' if report.size > 1 else ''} on {socket.gethostname()}",
        fontsize="medium",
    )
    figure.savefig(path, dpi=120)


def errors_by_decade(details: dict[str, Any], path: Path, *, title: str) -> None:
    """The mean absolute error of each decade beside its rows, and how true the model's probabilities are. Root only."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = details["decades"]
    places = range(len(rows))
    left.bar(places, [row["mae"] for row in rows], color="C0")
    for place, row in zip(places, rows, strict=True):
        left.annotate(f"{row['rows']:,}", (place, row["mae"]), ha="center", va="bottom", fontsize="small")
    left.set_xticks(list(places), [str(row["decade"]) for row in rows], rotation=45)
    left.set_ylabel("mean absolute error")
    left.set_title("error by decade, with its rows")
    if "reliability" in details:
        bins = details["reliability"]
        right.plot([0, 1], [0, 1], color="gray", linestyle="--", label="calibrated")
        right.scatter(
            [row["confidence"] for row in bins],
            [row["accuracy"] for row in bins],
            s=[8 + 200 * row["rows"] / sum(b["rows"] for b in bins) for row in bins],
            label="model (area: rows)",
        )
        right.set_xlabel("probability of the most likely label")
        right.set_ylabel("share of rows that have it")
        right.set_title(f"calibration error {details['expected_calibration_error']:.4f}")
        right.legend(frameon=False)
    else:
        right.axis("off")
        right.text(0.5, 0.5, "this model predicts one value, no probabilities", ha="center")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)
