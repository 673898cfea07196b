"""Weights & Biases: a run in the project of WANDB_PROJECT (hvd_train).

    pip install hvd_train[wandb]
    hvd-train train --trackers wandb

Without an API key, or with WANDB_MODE=offline, the run is written to RUN/wandb, and `wandb sync RUN/wandb/offline-*` sends it later.
A resumed run goes on in its own run. All of wandb's own variables hold.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import psutil

from hvd_train.runs.trackers.background import LIMIT_S
from hvd_train.runs.trackers.base import BY_STEP, Axis, Beginning, ScalarTracker
from hvd_train.runs.trackers.places import recall, remember

PACKAGE = "wandb"
PROJECT = "hvd_train"
# Seconds that wandb's own process gets at the exit of Python, where the run is not sent by then.
EXIT_S = 2.0


class WandbTracker(ScalarTracker):
    """Sends scalars by epoch and by step on axes of their own."""

    def begin(self, beginning: Beginning) -> None:
        import wandb

        self._sent = threading.Event()
        threading.Thread(target=self._bound_the_exit, name="end of wandb", daemon=True).start()
        run_dir = beginning.run_dir
        run_id = recall(run_dir, PACKAGE).get("run_id") or os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:12]
        remember(run_dir, PACKAGE, run_id=run_id)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=os.environ.get("WANDB_NAME") or run_dir.name,
            id=run_id,
            resume="allow",
            dir=str(run_dir),
            mode=None if os.environ.get("WANDB_MODE") or _has_key() else "offline",
            config={**beginning.parameters, "facts": dict(beginning.facts)},
            allow_val_change=True,
            reinit="create_new",
            # Standard output is that of the run. At its end nobody waits long for a network.
            settings=wandb.Settings(console="off", silent=True, finish_timeout=LIMIT_S),
        )
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("*", step_metric="epoch")
        self._run.define_metric(f"{BY_STEP}step", hidden=True)
        self._run.define_metric(f"{BY_STEP}*", step_metric=f"{BY_STEP}step")

    def scalars(self, values: dict[str, float], *, step: int, axis: Axis) -> None:
        self._run.log({"epoch" if axis == "epoch" else f"{BY_STEP}step": step, **values})

    def picture(self, name: str, path: Path, *, step: int) -> None:
        import wandb

        self._run.log({"epoch": step, name: wandb.Image(str(path))})

    def end(self, *, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)
        self._sent.set()

    def _bound_the_exit(self) -> None:
        """At the exit of Python wandb waits for its own process, and that for the server, however long it does not answer."""
        threading.main_thread().join()
        if not self._sent.wait(EXIT_S):
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if child.name().startswith("wandb"):
                        child.kill()


def _has_key() -> bool:
    """Whether wandb can log in without a question at the terminal."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))
