"""What `hvd-train runs` does: show what the runs in a directory have become."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hvd_train.cli.runs.listing import Listing, show
from hvd_train.cli.terminal import parse, tell
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.evaluation import is_known, metric_named
from hvd_train.runs import RunState, RunSummary, summaries
from hvd_train.text import ago, clock, shown

Order = Literal["time", "name", "loss", "best", "metric", "duration"]


@dataclass(frozen=True, kw_only=True)
class RunsArguments:
    """List the runs in a directory: state, epochs, best figures, time, ranks and host, from their files alone.

    Examples:

        hvd-train runs

        hvd-train runs --state running stopped

        hvd-train runs --runs /scratch/ada/runs --sort metric --name wide
    """

    runs: Path = Path("runs")
    """The directory with the runs."""
    state: tuple[RunState, ...] = ()
    """Show these alone. stopped: not complete, with a checkpoint to go on from. empty: without one. By default all."""
    name: str = ""
    """Show those alone that have this in their name."""
    sort: Order = "time"
    """By what to sort. The newest or the best run comes last. time is that of the last change, loss is the validation loss. best
    is the validation metric that chose the best epoch (--monitor of the run), metric is that of the test split."""
    json: bool = False
    """Print JSON instead of a table."""


def runs(argv: Sequence[str], placement: Placement) -> int:
    """Returns the exit code. The root prints."""
    arguments = parse(RunsArguments, argv, placement, prog="hvd-train runs")
    if not placement.is_root:
        return 0
    try:
        found = summaries(arguments.runs)
    except OSError as error:
        raise UserError(
            f"{arguments.runs} cannot be read: {error.strerror or error}. --runs names the directory with the runs."
        ) from None
    wanted = arguments.state
    chosen = [run for run in found if (not wanted or run.state in wanted) and arguments.name in run.path.resolve().name]
    chosen.sort(key=ORDERS[arguments.sort])
    if arguments.json:
        return tell(placement, json.dumps([_as_json(run) for run in chosen], indent=2))
    if not chosen:
        return tell(placement, f"No such run is in {arguments.runs}/ ({len(found)} in all).")
    show(listing(chosen, time.time()))
    return 0


def listing(found: Sequence[RunSummary], now: float) -> Listing:
    """A row for each run."""
    headings = ("run", "state", "model", "epoch", "best val", "test", "time", "ranks", "host", "changed")
    rows = [
        (
            run.path.resolve().name,
            run.state,
            run.model,
            f"{run.epoch}/{run.num_epochs}" if run.num_epochs else str(run.epoch),
            best_shown(run),
            "" if run.value is None else f"{run.metric} {metric_named(run.metric).shown(run.value)}",
            "" if run.seconds is None else clock(round(run.seconds)),
            str(run.size or ""),
            run.host,
            ago(now - run.changed),
        )
        for run in found
    ]
    return Listing(headings, tuple(rows))


def best_shown(run: RunSummary) -> str:
    """The best value of the metric by which the run chooses its best epoch, with its name; empty before the first epoch."""
    return "" if run.best is None else f"{run.monitor} {figure_shown(run.monitor, run.best)}"


def figure_shown(name: str, value: float) -> str:
    """As the table of metrics writes it. It does not know a metric of the user's own here."""
    return metric_named(name).shown(value) if is_known(name) else shown(value)


def _worst_first(value: float | None, *, higher_is_better: bool = False) -> float:
    if value is None or math.isnan(value):
        return -math.inf
    return value if higher_is_better else -value


ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "time": lambda run: run.changed,
    "name": lambda run: run.path.name,
    "loss": lambda run: _worst_first(run.val_loss),
    "best": lambda run: (
        run.monitor,
        _worst_first(run.best, higher_is_better=is_known(run.monitor) and metric_named(run.monitor).higher_is_better),
    ),
    "metric": lambda run: (
        run.metric,
        _worst_first(run.value, higher_is_better=metric_named(run.metric).higher_is_better),
    ),
    "duration": lambda run: run.seconds or 0.0,
}


def _as_json(run: RunSummary) -> dict[str, Any]:
    return dataclasses.asdict(run) | {"path": str(run.path)}
