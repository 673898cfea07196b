"""The picture of a search: how the best trial got better, and the monitored metric over each setting. Root only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvd_train.search.space import Choices, Range, Space

if TYPE_CHECKING:
    from hvd_train.search.study import Trial

COLUMNS = 3
PANEL = (4.2, 3.0)  # inches


def picture(trials: Sequence[Trial], space: Space, monitor: str, path: Path, *, higher_is_better: bool) -> None:
    """Write it; nothing where no trial has a value. Pruned trials are crosses."""
    from matplotlib.figure import Figure

    known = [trial for trial in trials if trial.value is not None]
    if not known:
        return
    num_rows = -(-(1 + len(space)) // COLUMNS)
    figure = Figure(figsize=(PANEL[0] * COLUMNS, PANEL[1] * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, COLUMNS, squeeze=False).flat
    _history(next(panels), known, monitor, max if higher_is_better else min)
    for key, entry in space.items():
        _setting(next(panels), known, key, entry, monitor)
    for left_over in panels:
        left_over.set_axis_off()
    figure.savefig(path, dpi=110)


def _history(panel: Any, known: Sequence[Trial], monitor: str, better: Any) -> None:
    numbers = [trial.number + 1 for trial in known]
    _points(panel, known, numbers)
    complete = [trial for trial in known if trial.state == "complete"]
    best = list(itertools.accumulate((trial.value for trial in complete), better))
    panel.plot([trial.number + 1 for trial in complete], best, color="C1", drawstyle="steps-post", label="best so far")
    panel.set(xlabel="trial", ylabel=monitor)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)
    panel.legend()


def _setting(panel: Any, known: Sequence[Trial], key: str, entry: Range | Choices, monitor: str) -> None:
    drawn = [trial for trial in known if key in trial.values]
    panel.set(xlabel=key, ylabel=monitor)
    panel.grid(alpha=0.3)
    if isinstance(entry, Choices):  # texts are read more easily one below the other
        places = {name: place for place, name in enumerate(entry.names)}
        _points(panel, drawn, [places[entry.names[entry.values.index(t.values[key])]] for t in drawn], upright=False)
        panel.set_yticks(range(len(places)), [name.replace(" ", "").strip('"') for name in places], fontsize=7)
        panel.set(xlabel=monitor, ylabel=key, ylim=(-0.5, len(places) - 0.5))
        return
    _points(panel, drawn, [trial.values[key] for trial in drawn])
    if entry.log:
        panel.set_xscale("log")


def _points(panel: Any, trials: Sequence[Trial], places: Sequence[float], *, upright: bool = True) -> None:
    for state, marker in (("complete", "o"), ("pruned", "x")):
        chosen = [(place, trial.value) for place, trial in zip(places, trials, strict=True) if trial.state == state]
        if chosen:
            xs, ys = zip(*chosen, strict=True)
            label = "complete" if state == "complete" else "pruned, at its best"
            panel.scatter(*((xs, ys) if upright else (ys, xs)), marker=marker, color="C0", label=label, s=24)
