"""A tracker that notes the time of every step of a run, in a file beside the run directory: RUN.steps.jsonl.

    hvd-train train --trackers benchmarks/faults/steps.py:Steps

Each line has the process, the time, and what happened: "start" with the times of birth and import, "steps", "end".
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil

from hvd_train.runs import Tracker

IMPORTED = time.time()


class Steps(Tracker):
    """Writes a line for each execution of steps."""

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        from hvd_train.training import loop

        # Every step is shown, not one in 0.2 s.
        loop.SHOW_EVERY_S = 0.0
        self._descriptor = os.open(beside(run_dir), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._epoch = 0
        per_execution = config["training"]["steps_per_execution"]
        self._write("start", born=psutil.Process().create_time(), imported=IMPORTED, per_execution=per_execution)

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        self._epoch, self._num_steps = epoch, num_steps

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        self._write("steps", done=(self._epoch - 1) * num_steps + step)

    def on_end(self, report: Any) -> None:
        self._write("end")

    def _write(self, what: str, **more: Any) -> None:
        line = {"pid": os.getpid(), "time": time.time(), "what": what, **more}
        os.write(self._descriptor, (json.dumps(line) + "\n").encode())


def beside(run_dir: Path) -> Path:
    """Where the steps of this run are noted."""
    return run_dir.with_name(f"{run_dir.name}.steps.jsonl")
