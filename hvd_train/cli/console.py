"""What a run looks like on a terminal: facts, a progress bar, a line an epoch, a final table. Root only.

Where there is no terminal (a file, a batch job, the pipe that horovodrun reads) it prints plain lines, and a line of
progress now and then instead of the bar.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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

from hvd_train.cli.live_terminal import PLAIN_WIDTH, plain_or_live
from hvd_train.cli.result_tables import details_tables, published_table, results_table
from hvd_train.cli.safe_console import SafeConsole
from hvd_train.evaluation import metric_named
from hvd_train.events import Observer
from hvd_train.runs import RunDir
from hvd_train.text import file_size, printable, shown

# Without a terminal, seconds between two lines of progress inside an epoch.
PLAIN_EVERY_S = 10.0


class ConsoleObserver(Observer):
    """Shows a run on `console` and keeps the same lines, with the time, in the run's log.

    With `quiet` it shows the result alone, or without `shows_result` nothing. The log has everything.
    """

    def __init__(
        self, run_dir: RunDir, console: Console | None = None, *, quiet: bool = False, shows_result: bool = True
    ) -> None:
        self._shows, self._shows_result = not quiet, shows_result
        self.console = console or plain_or_live()
        self.run_dir = run_dir
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._epochs = self._epoch = 0
        self._first_step = 0  # of the epoch with which a resumed run begins
        self._told = time.monotonic()
        self._waiting_log: list[str] = []

    def on_preparation(self, done: int, total: int) -> None:
        if self._bar is None and self.console.is_terminal and self._shows:
            columns = (
                TextColumn("converting"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task("", total=total or None)
            self._bar.start()
        if self._bar:
            self._bar.update(self._task, completed=done, total=total or None)
        elif total and time.monotonic() - self._told >= PLAIN_EVERY_S:
            self._told = time.monotonic()
            self._line(f"converted: {done / total:.0%} of {file_size(total)}", log=False)

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        self.close()
        width = max(map(len, facts))
        for name, fact in facts.items():
            self._line(f"{name:<{width}}  {fact}", style=None)
        self._line(f"{'run':<{width}}  {self.run_dir.path}")

    def on_resume(self, rows: Sequence[dict[str, float]], *, step: int, best_epoch: int) -> None:
        self._first_step = step
        steps = f"{' and' if rows else ''} {step} step{'s' if step > 1 else ''}" if step else ""
        best = f"; the best epoch so far is {best_epoch}" if best_epoch else ""
        self._line(f"The run goes on after{f' epoch {len(rows)}' if rows else ''}{steps}{best}.")

    def on_message(self, text: str) -> None:
        self._line(text)

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        self._epoch, self._epochs, self._told = epoch, num_epochs, time.monotonic()
        if self.console.is_terminal and self._shows:
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
            shows: dict[str, Any] = {"epoch": f"{epoch}/{num_epochs}", "rate": "", "loss": ""}
            self._task = self._bar.add_task("", total=num_steps, completed=self._first_step, **shows)
            self._bar.start()
        self._first_step = 0

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
        names = [key.removeprefix("val_") for key in row if key.startswith("val_")]
        figures = "  ".join(f"{name} {metric_named(name).shown(row[f'val_{name}'])}" for name in names)
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
        self._table(table, is_result=True)
        for table in details_tables(report.details["test"]):
            self._table(table)
        if report.published:
            self._table(published_table(report.published, report.metrics["test"]["rmse"]))
        self._line(f"The model is {report.verdict}.", is_result=True)
        self._line(
            f"{report.samples_per_s:,.0f} samples/s over all ranks; trained {report.train_seconds:.1f} s, in total {report.wall_seconds:.1f} s"
        )
        written = "report.html, report.json, model.keras, metrics.csv, checkpoints/"
        self._line(f"Written to {self.run_dir.path}: {written}", is_result=True)

    def close(self) -> None:
        """Take the bar away, also when the run ends in its middle."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _line(self, text: str, *, style: str | None = None, log: bool = True, is_result: bool = False) -> None:
        if self._shows or (is_result and self._shows_result):
            self.console.print(text, style=style, markup=False)
        if log:
            self._log(text)

    def _table(self, table: Table, *, is_result: bool = False) -> None:
        if self._shows or (is_result and self._shows_result):
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
