"""The table and the picture of a search."""

from __future__ import annotations

import math
from pathlib import Path

from rich.table import Table

from hvd_train.bench import new_table
from hvd_train.tune.halving import Search, Trial


def last_trials(search: Search) -> list[Trial]:
    """Of each candidate the last one, best first."""
    by_name = {trial.candidate.name: trial for trial in search.trials}
    return [by_name[candidate.name] for candidate in search.ranking()]


def table(search: Search) -> Table:
    """Every candidate, best first, with the time it took against the recipe as it is."""
    best = search.best()
    columns = ("settings", "ranks", "samples/s", "seconds to target", "as it is = 1", "rungs")
    shown = new_table("Settings by time to the same validation loss", *columns)
    for trial in last_trials(search):
        name = trial.candidate.name + (" (best)" if trial.candidate == best else "")
        if trial.outcome.error:
            shown.add_row(name, str(trial.candidate.size), "failed", "", "", str(trial.rung + 1))
            continue
        seconds, gain = trial.time_to_target, search.gain(trial.candidate)
        reached = math.isfinite(seconds)
        shown.add_row(
            name,
            str(trial.candidate.size),
            f"{trial.outcome.samples_per_s:,.0f}",
            f"{seconds:.2f}" if reached else "not reached",
            f"{gain:.2f}" if reached else "",
            str(trial.rung + 1),
        )
    return shown


def picture(search: Search, path: Path) -> Path:
    """A bar for each setting: seconds to the target as a share of the recipe's own."""
    from matplotlib.figure import Figure

    reached = [t for t in last_trials(search) if not t.outcome.error and math.isfinite(t.time_to_target)]
    figure = Figure(figsize=(7, 1 + 0.3 * max(3, len(reached))), layout="constrained")
    axes = figure.subplots()
    names = [f"{t.candidate.name} ({t.candidate.size})" for t in reversed(reached)]
    axes.barh(names, [search.gain(t.candidate) for t in reversed(reached)], color="C0")
    axes.axvline(1.0, color="gray", linestyle="--")
    axes.set(xlabel="time to the target, as it is = 1", title="settings (ranks)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    return path
