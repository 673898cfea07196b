"""What the run directories below a folder have become, read from their files: for a table of many runs.

Nothing is locked and nothing is changed. A file that cannot be read leaves its figures out.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hvd_train.config import TRAIN_LOSS, RunConfig, toml
from hvd_train.evaluation import is_known, metric_named
from hvd_train.files import strict
from hvd_train.runs.directory import RunDir
from hvd_train.runs.directory_lock import holder
from hvd_train.runs.progress import read_progress

RunState = Literal["complete", "running", "stopped", "empty"]
"""DONE is there; a program holds it; it can go on from a checkpoint; it has none."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run. What is not known is None."""

    path: Path
    state: RunState
    model: str
    """The name of the network."""
    epoch: int
    """Complete epochs."""
    num_epochs: int | None
    val_loss: float | None
    """The lowest so far."""
    monitor: str
    """The name of the metric by which the run chooses its best epoch (`--monitor`), without val_."""
    best: float | None
    """The best value of it so far."""
    metric: str
    """The name of the figure in `value`: rmse, or else accuracy, on the test split."""
    value: float | None
    seconds: float | None
    """Of training."""
    size: int | None
    """Number of ranks."""
    host: str
    """The first of them, or who holds the run."""
    changed: float
    """When its newest file was written, in seconds since 1970."""


def summaries(parent: Path) -> list[RunSummary]:
    """Every run directory right below `parent`, the newest last. Empty where there is none. Raises OSError."""
    found = [path for path in parent.iterdir() if path.is_dir() and RunDir(path).config.is_file()]
    return sorted(map(summary_of, found), key=lambda run: run.changed)


def summary_of(path: Path) -> RunSummary:
    """What the files of one run directory say."""
    run_dir = RunDir(path)
    config, report, rows = _config(run_dir.config), _json(run_dir.report), _rows(run_dir.metrics)
    done, held_by = run_dir.done.exists(), holder(path)
    stopped: RunState = "stopped" if run_dir.last.exists() else "empty"
    test = report.get("metrics", {}).get("test", {}) if done else {}
    metric = next((name for name in ("rmse", "accuracy") if name in test), "rmse")
    progress = None if done else read_progress(run_dir)
    hosts = list(report.get("hosts", {})) if done else []
    ranks = progress.ranks if progress else []
    epochs = [row["epoch"] for row in rows if "epoch" in row]
    monitor = (config.training.monitor if config else "val_loss").removeprefix("val_")
    losses = [row["val_loss"] for row in rows if math.isfinite(row.get("val_loss", math.nan))]
    return RunSummary(
        path=path,
        state="complete" if done else "running" if held_by else stopped,
        model=config.model.name if config else "",
        epoch=int(max(epochs, default=0)),
        num_epochs=config.training.num_epochs if config else None,
        val_loss=min(losses, default=None),
        monitor=monitor,
        best=_best(rows, monitor, progress.best_epoch if progress else report.get("best_epoch")),
        metric=metric,
        value=test.get(metric),
        seconds=sum(row.get("seconds", 0.0) for row in rows) or None,
        size=report.get("size") if done else len(ranks) or None,
        host=hosts[0] if hosts else ranks[0].host if ranks else "",
        changed=max(_times(run_dir)),
    )


def _best(rows: Sequence[dict[str, float]], monitor: str, best_epoch: int | None) -> float | None:
    """The best value of the monitored metric. `best_epoch` tells it for a metric of the user's own, of which no table knows."""
    column = "loss" if monitor == TRAIN_LOSS else f"val_{monitor}"
    values = {
        int(row["epoch"]): row[column] for row in rows if math.isfinite(row.get(column, math.nan)) and "epoch" in row
    }
    if monitor == TRAIN_LOSS:
        return min(values.values(), default=None)
    if not is_known(monitor):
        return values.get(best_epoch or 0)
    better = max if metric_named(monitor).higher_is_better else min
    return better(values.values(), default=None)


def _times(run_dir: RunDir) -> list[float]:
    times = []
    for path in (run_dir.config, run_dir.metrics, run_dir.last, run_dir.done, run_dir.progress):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return times or [0.0]


def _config(path: Path) -> RunConfig | None:
    with contextlib.suppress(Exception):
        return toml.load(path)
    return None


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(Exception):
        document = strict.loads(path.read_bytes())
        return document if isinstance(document, dict) else {}
    return {}


def _rows(path: Path) -> list[dict[str, float]]:
    with contextlib.suppress(Exception), path.open(encoding="utf-8", newline="") as file:
        return [{name: float(text or "nan") for name, text in row.items()} for row in csv.DictReader(file)]
    return []
