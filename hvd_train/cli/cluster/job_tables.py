"""How jobs are shown: what stands in each row."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from hvd_train.cli.cluster.submit_verb import near
from hvd_train.cli.runs.listing import Listing
from hvd_train.cluster.jobs import JobRun, Status
from hvd_train.text import ago, shown

MOST_METRICS = 3


def list_table(found: Sequence[Status], now: float) -> Listing:
    """A row for each job."""
    headings = ("job", "state", "run", "trained", "checkpoint", "restarts", "requeues")
    return Listing(headings, tuple(_row(one, now, one.run.name) for one in found))


def tasks_table(found: Sequence[Status], now: float) -> Listing:
    """A row for each task of an array, with its flags and metrics."""
    metrics = [metrics_of(one.run) for one in found]
    names = list(dict.fromkeys(name for figures in metrics for name in figures))[:MOST_METRICS]
    shared = _shared_flags(found)
    rows = []
    for one, figures in zip(found, metrics, strict=True):
        cells = tuple(shown(figures[name]) if name in figures else "" for name in names)
        rows.append(
            (one.run.id, *_row(one, now, "")[1:2], *_row(one, now, "")[3:], *cells, _own_flags(one.run, shared))
        )
    headings = ("task", "state", "trained", "checkpoint", "restarts", "requeues", *names, "flags")
    return Listing(headings, tuple(rows))


def status_lines(one: Status, now: float) -> str:
    """What is known of one job."""
    run = one.run
    facts = {
        "job": f"{run.id}{f', after {chr(44).join(run.ids[:-1])}' if run.ids[:-1] else ''}",
        "run": near(run.run_dir.path),
        "state": str(one),
        "trained": trained(run) or "nothing is saved yet",
        "checkpoint": age(run, now),
        "restarts": str(run.num_restarts),
        "requeues": str(run.num_requeues),
        "metrics": "  ".join(f"{name} {shown(value)}" for name, value in metrics_of(run).items()),
        "log": near(run.logs[-1]) if run.logs else "",
    }
    return "\n".join(f"{name:<11} {value}" for name, value in facts.items() if value)


def _row(one: Status, now: float, name: str) -> tuple[str, ...]:
    run = one.run
    return (run.id, str(one), name, trained(run), age(run, now), str(run.num_restarts), str(run.num_requeues))


def trained(run: JobRun) -> str:
    """What the last checkpoint holds: epoch 3, or epoch 3 + 17 steps."""
    if run.position is None:
        return ""
    epoch, step = run.position
    return f"epoch {epoch}" + (f" + {step} step{'s' * (step > 1)}" if step else "")


def age(run: JobRun, now: float) -> str:
    """How long ago the last checkpoint was written."""
    if run.checkpoint_at is None:
        return ""
    return ago(now - run.checkpoint_at)


def metrics_of(run: JobRun) -> dict[str, float]:
    """On the test split where the run is complete, otherwise those of the newest epoch on the validation split."""
    if run.test_metrics:
        return {f"test_{name}": value for name, value in run.test_metrics.items()}
    return {name: value for name, value in run.metrics.items() if name.startswith("val_")}


def _shared_flags(found: Sequence[Status]) -> int:
    """How many flags all tasks begin with."""
    lists = [one.run.spec.flags for one in found]
    same = 0
    for words in zip(*lists, strict=False):
        if len(set(words)) > 1:
            break
        same += 1
    while same and not all(len(flags) == same or flags[same].startswith("--") for flags in lists):
        same -= 1  # not between a flag and its value
    return same


def _own_flags(run: JobRun, shared: int) -> str:
    return shlex.join(run.spec.flags[shared:])
