"""What a run looks like on a terminal: facts, a progress bar, a line an epoch, a final table.

Where there is no terminal (a file, a batch job, the pipe that horovodrun reads) plain lines, and a line of progress now
and then instead of the bar. With hvd_train/cli/verbs.py the only place that prints. Root only.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from hvd_train.cli.safe_console import SafeConsole
from hvd_train.distributed import detect_placement
from hvd_train.evaluation import metrics
from hvd_train.events import Observer
from hvd_train.processes import is_launcher_command
from hvd_train.runs import RunDir, classes_table
from hvd_train.text import printable, shown

# Without a terminal, seconds between two lines of progress inside an epoch.
PLAIN_EVERY_S = 10.0
# ... and columns of a table.
PLAIN_WIDTH = 110


def plain_or_live() -> Console:
    """A console that knows whether someone is watching it.

    mpirun gives its local ranks a terminal of their own, whatever its output goes to, and horovodrun puts a tag before
    every line: there a bar that redraws itself would become a heap of control characters. So under a launcher its own
    output is looked at, and a bar is drawn only where mpirun hands bytes through to a terminal.
    """
    placement = detect_placement(os.environ)
    live = None if not placement.launcher else mpirun_shows_terminal(Path(f"/proc/{os.getppid()}"))
    console = SafeConsole(force_terminal=live)
    return console if console.is_terminal else SafeConsole(force_terminal=live, width=PLAIN_WIDTH)


def mpirun_shows_terminal(parent: Path) -> bool:
    """Whether the process with this folder in /proc is an mpirun that hands bytes through to a terminal.

    Any other parent, such as a shell on a terminal or mpirun's daemon on another host, shows this rank nothing.
    """
    try:
        command = parent.joinpath("cmdline").read_bytes()
        tagged = any(word in command for word in (b"tag-output", b"timestamp-output", b"xml"))
        shown = os.readlink(parent / "fd" / "1").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
    return is_launcher_command(os.fsdecode(command).split("\0")) and shown and not tagged


class ConsoleObserver(Observer):
    """Shows a run on `console` and keeps the same lines, with the time, in the run's log."""

    def __init__(self, run_dir: RunDir, console: Console | None = None) -> None:
        self.console = console or plain_or_live()
        self.run_dir = run_dir
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._epochs = self._epoch = 0
        self._told = 0.0
        self._waiting_log: list[str] = []

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        width = max(map(len, facts))
        for name, fact in facts.items():
            self._line(f"{name:<{width}}  {fact}", style=None)
        self._line(f"{'run':<{width}}  {self.run_dir.path}")

    def on_message(self, text: str) -> None:
        self._line(text)

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        self._epoch, self._epochs, self._told = epoch, num_epochs, time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=num_steps, epoch=f"{epoch}/{num_epochs}", rate="", loss="")
            self._bar.start()

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        rate = f"{samples_per_s:,.0f} samples/s" if samples_per_s == samples_per_s else ""
        if self._bar:
            self._bar.update(self._task, completed=step, rate=rate, loss=f"loss {loss:.4g}")
        elif time.monotonic() - self._told >= PLAIN_EVERY_S:
            self._told = time.monotonic()
            self._line(
                f"epoch {self._epoch}/{self._epochs}  step {step}/{num_steps}  loss {loss:.4g}  {rate}", log=False
            )

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        self.close()
        figures = "  ".join(
            f"{name} {_figure(name, row[f'val_{name}'])}" for name in metrics.TITLES if f"val_{name}" in row
        )
        self._line(
            f"epoch {row['epoch']:>2.0f}/{self._epochs}  train loss {shown(row['loss'])}  validation: {figures}  "
            f"{row['samples_per_s']:,.0f} samples/s  {row['seconds']:.1f} s{'  best' if best else ''}"
        )

    def on_end(self, report: Any) -> None:
        self.close()
        table = results_table(
            report.metrics["test"],
            report.baselines["test"],
            report.optimum["test"],
            title=f"Test split, epoch {report.best_epoch} of {report.epochs}",
        )
        self._table(table)
        if "decades" in report.details["test"]:
            self._table(decades_table(report.details["test"]))
        if "classes" in report.details["test"]:
            self._table(classes_table(report.details["test"]))
        if report.published:
            self._table(published_table(report.published, report.metrics["test"]["rmse"]))
        self._line(f"The model is {report.verdict}.")
        self._line(
            f"{report.samples_per_s:,.0f} samples/s over all ranks; trained {report.train_seconds:.1f} s, all in all {report.wall_seconds:.1f} s"
        )
        self._line(
            f"Written to {self.run_dir.path}: report.json, learning-curve.png, model.keras, metrics.csv, checkpoints/"
        )

    def close(self) -> None:
        """Take the bar away, also when the run ends in its middle."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _line(self, text: str, *, style: str | None = None, log: bool = True) -> None:
        self.console.print(text, style=style, markup=False)
        if log:
            self._log(text)

    def _table(self, table: Table) -> None:
        self.console.print(table)
        plain = SafeConsole(width=PLAIN_WIDTH, no_color=True)
        with plain.capture() as captured:
            plain.print(table)
        self._log(captured.get())

    def _log(self, text: str) -> None:
        """Lines that come before the run has begun wait: one that is refused before leaves nothing behind."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        self._waiting_log += [f"{stamp}  {line}\n" for line in printable(text).rstrip().splitlines()]
        if self.run_dir.config.is_file():
            with self.run_dir.log.open("a", encoding="utf-8") as file:
                file.writelines(self._waiting_log)
            self._waiting_log.clear()


def _figure(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name in metrics.SHARES else shown(value)


def print_evaluation(result: dict[str, Any]) -> None:
    """The result of `hvd-train evaluate`."""
    console = plain_or_live()
    console.print(
        results_table(result["metrics"], result["baselines"], result["optimum"], title=f"{result['rows']:,} rows")
    )
    if "decades" in result["details"]:
        console.print(decades_table(result["details"]))
    if "classes" in result["details"]:
        console.print(classes_table(result["details"]))
    for remark in result.get("remarks", ()):
        console.print(f"Note: {remark}.", markup=False)
    if result.get("rows_without_label"):
        console.print(f"Note: rows without a label, left out: {result['rows_without_label']:,}.", markup=False)
    console.print(f"The model is {result['verdict']}.", markup=False)


def results_table(
    figures: dict[str, float], baselines: dict[str, float], optimum: dict[str, float], *, title: str
) -> Table:
    """Each metric beside its trivial baseline and, where it is known, the best that is possible."""
    table = Table(title=title, title_justify="left")
    headings = ["metric", "model", "trivial baseline", *(["best possible"] if optimum else []), ""]
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("metric", "") else "right", no_wrap=True)
    for name, value in figures.items():
        better = metrics.beats(name, value, baselines[name])
        best = [_figure(name, optimum[name]) if name in optimum else ""] if optimum else []
        cells = [metrics.TITLES[name], _figure(name, value), _figure(name, baselines[name]), *best]
        table.add_row(*cells, "better" if better else "NO BETTER")
    return table


def decades_table(details: dict[str, Any]) -> Table:
    """Errors decade by decade, and as means in which each label counts alike however many rows it has."""
    caption = f"mean over labels of their mean abs. error {shown(details['balanced_mae'])}; mean over decades of their accuracy {100 * details['macro_accuracy_by_decade']:.2f} %"
    if "expected_calibration_error" in details:
        caption += f"; calibration error {details['expected_calibration_error']:.4f}"
    table = Table(title="By decade", title_justify="left", caption=caption, caption_justify="left")
    for heading in ("decade", "train rows", "rows", "mean abs. error", "root mean sq. error", "right decade"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in details["decades"]:
        table.add_row(
            str(row["decade"]),
            f"{row['train_rows']:,}",
            f"{row['rows']:,}",
            shown(row["mae"]),
            shown(row["rmse"]),
            f"{100 * row['decade_accuracy']:.2f} %",
        )
    return table


def published_table(published: dict[str, float], rmse: float) -> Table:
    """This run among the figures that others published for the same split, the best last."""
    table = Table(title="YearPredictionMSD, official split", title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("root mean sq. error", justify="right", no_wrap=True)
    for name, figure in sorted({**published, "this run": rmse}.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{figure:.3f}", style="bold" if name == "this run" else None)
    return table


@contextlib.contextmanager
def told_and_drawn() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Where long work on data tells of itself: a function for lines, and one for bytes (done, in all) that draws a bar."""
    console = SafeConsole(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield (
            lambda text: console.print(text, markup=False),
            lambda done, total: bar.update(task, completed=done, total=total or None),
        )
