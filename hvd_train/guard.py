"""What stands around a run: the watchdog over its ranks, and an end in good order on Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from hvd_train.config import TrainingConfig
from hvd_train.launch.stop import Stopped, stop_handler
from hvd_train.launch.watch_rules import Limits
from hvd_train.launch.watchdog import Watchdog
from hvd_train.rundir import RunDir
from hvd_train.watch import Watch
from hvd_train.world import World


def last_checkpoint_line(run_dir: RunDir) -> str:
    """What to tell a user whose run ended before its time."""
    if not run_dir.last.exists():
        return "There was no checkpoint yet."
    return f"The last checkpoint is whole: {run_dir.last}. Go on with: hvd-train train --resume {run_dir.path}"


@contextlib.contextmanager
def guarded(
    world: World, training: TrainingConfig, run_dir: RunDir, *, hint: Callable[[], str] | None = None
) -> Iterator[Watch]:
    """Watch over the ranks while the block runs. All ranks (the watchdog's address is broadcast).

    A signal raises Stopped in the block; a rank that cannot come back to Python is ended all the same, and the root
    says how to go on (`hint`; by default where the last checkpoint is). An exception tells the watchdog that this rank
    has a message of its own.
    """
    told = hint or (lambda: last_checkpoint_line(run_dir))
    watchdog = Watchdog.start(
        rank=world.rank,
        size=world.size,
        host=world.place.host,
        broadcast=world.broadcast,
        limits=Limits(watchdog_s=training.watchdog_s, stall_s=training.stall_s),
        hint=told,
    )

    def message() -> str:
        return f"stopped by a signal. {told()}" if world.is_root else ""

    with stop_handler(message, on_signal=lambda _: watchdog.stopping()) as stop:
        try:
            yield watchdog
        except Stopped:
            stop.release()
            raise
        except BaseException as error:
            watchdog.failed(f"{type(error).__name__}: {error}")
            raise
    watchdog.close()
