"""What `hvd-train watch` does: follow a run from another terminal, from the files of its directory alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hvd_train.cli.live_terminal import plain_or_live
from hvd_train.cli.runs.runs_verb import figure_shown
from hvd_train.cli.terminal import parse
from hvd_train.config import TRAIN_LOSS
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.runs import Progress, RunDir, RunSummary, read_progress, summary_of
from hvd_train.text import ago, clock, printable

POLL_S = 0.5
# Without a terminal, seconds between two lines.
PLAIN_EVERY_S = 10.0
# After so long without a new file the line says when the last came.
SILENT_S = 15.0
# A program may come a moment later that makes the directory.
WAIT_S = 120.0
MOST_RANKS = 32


@dataclass(frozen=True, kw_only=True)
class WatchArguments:
    """Follow a run from another terminal or machine: epoch, step, loss, samples/s, time left, and each rank.

    It reads the files of the run alone, and ends when the run has ended. Ctrl-C ends it and leaves the run alone.
    Exit code: 0 where the run is complete, 1 where it has stopped.

    Examples:

        hvd-train watch runs/default-20260101-120000

        hvd-train watch runs/default-20260101-120000 --once
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The directory of the run."""
    once: bool = False
    """Print how far it is, and end."""


def watch(argv: Sequence[str], placement: Placement) -> int:
    """Returns the exit code. Root only."""
    arguments = parse(WatchArguments, argv, placement, prog="hvd-train watch")
    if not placement.is_root:
        return 0
    run_dir, console = RunDir(arguments.run), plain_or_live()
    await_run(run_dir, 0.0 if arguments.once else WAIT_S)
    try:
        if arguments.once:
            console.print(picture(run_dir, summary_of(run_dir.path), time.time()))
        elif console.is_terminal:
            follow_live(run_dir, console)
        else:
            follow_plain(run_dir, console)
    except KeyboardInterrupt:
        return 130
    return 0 if arguments.once or run_dir.done.exists() else 1


def await_run(run_dir: RunDir, limit_s: float) -> None:
    """Return when the run is there; UserError after so many seconds."""
    deadline = time.monotonic() + limit_s
    while not run_dir.config.is_file():
        if time.monotonic() > deadline:
            waited = f" It did not appear within {limit_s:g} s." if limit_s else ""
            raise UserError(f"{run_dir.path} is not the directory of a run: it has no config.toml.{waited}")
        time.sleep(POLL_S)


def follow_live(run_dir: RunDir, console: Console) -> None:
    """Redraw until the run has ended."""
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            summary = summary_of(run_dir.path)
            live.update(picture(run_dir, summary, time.time()))
            if summary.state != "running":
                return
            time.sleep(POLL_S)


def follow_plain(run_dir: RunDir, console: Console) -> None:
    """A line now and then, and one for each epoch, until the run has ended."""
    told, epoch = -PLAIN_EVERY_S, -1
    while True:
        summary = summary_of(run_dir.path)
        if summary.state != "running" or summary.epoch != epoch or time.monotonic() - told >= PLAIN_EVERY_S:
            told, epoch = time.monotonic(), summary.epoch
            console.print(line(read_progress(run_dir), summary, time.time()), markup=False)
        if summary.state != "running":
            return
        time.sleep(POLL_S)


def line(progress: Progress | None, summary: RunSummary, now: float) -> str:
    """How far a run is, in one line."""
    if summary.state == "complete" or progress is None:
        figures = [f"{summary.epoch} epochs"]
        if summary.best is not None:
            figures.append(best_validation(summary))
        return f"{summary.state}  " + "  ".join(figures)
    ends = progress.epoch == progress.num_epochs == summary.epoch and progress.step == progress.num_steps
    step = f"step {progress.step}/{progress.num_steps}" if progress.num_steps else "resumes"
    parts = [
        summary.state,
        f"epoch {progress.epoch}/{progress.num_epochs}",
        step if not ends else "evaluates and saves",
        *([f"loss {progress.loss:.4g}"] if progress.loss is not None else []),
        *([best_validation(summary)] if summary.best is not None else []),
        *([f"{progress.samples_per_s:,.0f} samples/s"] if progress.samples_per_s else []),
    ]
    if summary.state == "running":
        if progress.seconds_left is not None:
            parts.append(f"at most {clock(round(max(0.0, progress.seconds_left - (now - progress.time))))} left")
        if now - progress.time > SILENT_S:
            parts.append(f"the last sign was {ago(now - progress.time)}")
    return "  ".join(parts)


def best_validation(summary: RunSummary) -> str:
    """By the metric that chooses the best epoch."""
    assert summary.best is not None
    what = summary.monitor if summary.monitor == TRAIN_LOSS else f"validation {summary.monitor}"
    return f"best {what} {figure_shown(summary.monitor, summary.best)}"


def picture(run_dir: RunDir, summary: RunSummary, now: float) -> RenderableType:
    """The line, bars for the epoch and the run, and a row for each rank."""
    progress = read_progress(run_dir)
    parts: list[RenderableType] = [
        Text(printable(f"{run_dir.path}"), style="bold"),
        Text(line(progress, summary, now)),
    ]
    if progress is not None and summary.state == "running":
        done = progress.epoch - 1 + progress.step / max(1, progress.num_steps)
        bars = Table.grid(padding=(0, 1))
        bars.add_row("epoch", ProgressBar(total=max(1, progress.num_steps), completed=progress.step, width=40))
        bars.add_row("run", ProgressBar(total=progress.num_epochs, completed=done, width=40))
        parts += [bars, ranks_table(progress)]
    return Group(*parts)


def ranks_table(progress: Progress) -> Table:
    """Each rank: its host, its steps, the CPU time of a step, and what it does."""
    table = Table()
    for heading in ("rank", "host", "steps", "CPU time of a step", "now"):
        table.add_column(heading, justify="left" if heading in ("host", "now") else "right", overflow="fold")
    for one in progress.ranks[:MOST_RANKS]:
        cost = "" if one.cpu_s_per_step is None else f"{1000 * one.cpu_s_per_step:.2f} ms"
        table.add_row(str(one.rank), printable(one.host), f"{one.step:,}", cost, printable(one.phase))
    if len(progress.ranks) > MOST_RANKS:
        table.caption = f"{len(progress.ranks) - MOST_RANKS} more ranks"
    return table
