"""`hvd-train train --dry-run`: everything before the first step, on the ranks that are there. Nothing stays on disk."""

from __future__ import annotations

from typing import Any

from hvd_train.cli.live_terminal import plain_or_live
from hvd_train.cli.terminal import tell
from hvd_train.config import RunConfig
from hvd_train.distributed import Placement, end_continued, end_rank
from hvd_train.errors import ToBeContinued
from hvd_train.events import Observer
from hvd_train.processes import ALONE_GRACE_S, GRACE_S, Stopped
from hvd_train.runs import RunDir, guarded, how_stopped
from hvd_train.training import dry_run
from hvd_train.watchdog import Limits

NOTHING = "This was a dry run: no step was taken, and nothing was written."
NO_CHECKPOINT = "It was a dry run, so there is no checkpoint."


class Told(Observer):
    """Prints the messages of a dry run. It keeps no log."""

    def __init__(self) -> None:
        self._console = plain_or_live()

    def on_message(self, text: str) -> None:
        self._console.print(text, markup=False)


def run_dry(config: RunConfig, world: Any, run_dir: RunDir, placement: Placement, *, resume: bool) -> int:
    """Print what the run would be. All ranks; the root prints. Returns the exit code."""
    training, grace_s = config.training, GRACE_S if placement.launcher else ALONE_GRACE_S
    limits = Limits(watchdog_s=training.watchdog_s, stall_s=training.stall_s)
    observer = Told() if world.is_root else Observer()
    try:
        with guarded(world, limits, hint=lambda: NO_CHECKPOINT, grace_s=grace_s, saves=True) as watch:
            facts = dry_run(config, world, run_dir, resume=resume, observer=observer, watch=watch)
    except ToBeContinued as error:
        return end_continued(placement, ToBeContinued(error.what, NO_CHECKPOINT), world.close)
    except Stopped as stopped:
        return end_rank(placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {NO_CHECKPOINT}")
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {fact}" for name, fact in facts.items()]
    tell(placement, "\n".join([*lines, NOTHING]))
    world.close()
    return 0
