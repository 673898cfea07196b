"""The charts of the page of a run. Each is a pure function from numbers to an <svg> element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hvd_train.evaluation import Metric
from hvd_train.runs.page.theme import HEAT, INK, MUTED, SERIES, line_style, svg

Rows = Sequence[Mapping[str, float]]
# Markers tell single epochs apart where there are few.
FEW_EPOCHS = 40
MOST_NAMED = 20
"""Classes that a confusion matrix has room to name."""
MOST_HEAT = len(HEAT) - 1


def by_epoch(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    unit: str = "",
    levels: Mapping[str, float] | None = None,
    best_epoch: int | None = None,
) -> str:
    """Lines (epochs, values) by name, and levels that do not change, such as the trivial baseline."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, (name, (epochs, values)) in enumerate(lines.items()):
            few = len(epochs) <= FEW_EPOCHS
            axes.plot(epochs, values, label=name, marker="." if few else None, **line_style(number))
        for dashes, (name, value) in zip(("--", "-."), (levels or {}).items(), strict=False):
            axes.axhline(value, color=MUTED, linestyle=dashes, linewidth=1.2, label=name)
        if best_epoch:
            axes.axvline(best_epoch, color=MUTED, linestyle=":", linewidth=1.2, label=f"best epoch ({best_epoch})")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(unit)
        axes.set_title(title, loc="left")
        axes.grid(axis="y")
        if len(lines) + len(levels or {}) > 1 or best_epoch:
            axes.legend()

    return svg(draw, label=f"{title} by epoch: {', '.join([*lines, *(levels or {})])}")


def metric_lines(history: Rows, name: str) -> tuple[list[float], list[float]]:
    """Epochs and values of a column of metrics.csv, without what is no number."""
    known = [(row["epoch"], row[name]) for row in history if _is_number(row.get(name))]
    return [epoch for epoch, _ in known], [value for _, value in known]


def throughput(history: Rows) -> str:
    """Samples a second over all ranks, by epoch."""
    return by_epoch(
        {"all ranks": metric_lines(history, "samples_per_s")}, title="Throughput", unit="samples/s over all ranks"
    )


def error_by_label(rows: Sequence[Mapping[str, Any]], *, metric: Metric) -> str:
    """The error of each range of labels, with the number of its rows. `rows` are `details["decades"]`."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        places = range(len(rows))
        axes.bar(places, [row[metric.name] for row in rows], color=SERIES[0])
        for place, row in zip(places, rows, strict=True):
            text = f"{row['rows']:,}"
            axes.annotate(text, (place, row[metric.name]), ha="center", va="bottom", fontsize=8, color=INK)
        axes.set_xticks(list(places), [str(row["decade"]) for row in rows], rotation=45)
        axes.set_ylabel("in the unit of the label")
        axes.set_title(f"{metric.title}, with the number of rows", loc="left")
        axes.grid(axis="y")

    return svg(draw, label=f"{metric.title} by range of the label")


def reliability(bins: Sequence[Mapping[str, float]], error: float) -> str:
    """How often the most likely label is right, by the probability that the model gave to it."""
    total = sum(one["rows"] for one in bins)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1.2, label="perfectly calibrated")
        axes.scatter(
            [one["confidence"] for one in bins],
            [one["accuracy"] for one in bins],
            s=[10 + 240 * one["rows"] / total for one in bins],
            color=SERIES[0],
            label="model (area: rows)",
        )
        axes.set_xlabel("probability of the most likely label")
        axes.set_ylabel("share of rows that have it")
        axes.set_title(f"Calibration error {error:.4f}", loc="left")
        axes.grid()
        axes.legend()

    return svg(draw, label="Share of right predictions by predicted probability")


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Rows by true (down) and predicted (across) class, as shares of the true class."""
    shares = [[cell / max(1, sum(row)) for cell in row] for row in counts]
    edges = list(range(len(labels) + 1))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        _heat(axes, edges, [[math.ceil(share * MOST_HEAT) for share in row] for row in shares])
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_title("Share of each true class (darker: more)", loc="left")
        if len(labels) <= MOST_NAMED:
            middles = [number + 0.5 for number in range(len(labels))]
            axes.set_xticks(middles, list(labels), rotation=90, fontsize=8)
            axes.set_yticks(middles, list(labels), fontsize=8)

    return svg(draw, label="Rows by true and predicted class", size=(6.4, 5.6))


def predicted_against_true(edges: Sequence[float], rows: Sequence[Sequence[int]]) -> str:
    """Rows by true (across) and predicted (up) label, between the edges; the shade is by the logarithm of their number."""
    most = max(max(row) for row in rows)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        levels = [[math.ceil(MOST_HEAT * math.log1p(cell) / math.log1p(most)) for cell in row] for row in rows]
        _heat(axes, edges, [list(column) for column in zip(*levels, strict=True)])
        axes.plot([edges[0], edges[-1]], [edges[0], edges[-1]], color=MUTED, linestyle="--", linewidth=1.2)
        axes.set_xlabel("true label")
        axes.set_ylabel("predicted mean")
        axes.set_title("Predicted against true (darker: more rows)", loc="left")

    return svg(draw, label="Rows by true and predicted label", size=(6.4, 4.6))


def _heat(axes: Any, edges: Sequence[float], levels: list[list[int]]) -> None:
    """Cells between the edges, from level 0 to MOST_HEAT, as polygons: an image would not take the colours of the page."""
    from matplotlib.collections import PolyCollection

    cells, colours = [], []
    for bottom, top, row in zip(edges, edges[1:], levels, strict=False):
        for left, right, level in zip(edges, edges[1:], row, strict=False):
            if level:  # most cells of many classes are empty
                cells.append([(left, bottom), (left, top), (right, top), (right, bottom)])
                colours.append(HEAT[level])
    axes.set_facecolor(HEAT[0])
    axes.add_collection(PolyCollection(cells, facecolors=colours, edgecolors="none", antialiaseds=False))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(edges[0], edges[-1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
