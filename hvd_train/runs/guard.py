"""What stands around work on several ranks: the watchdog over them, and an end in good order on Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from hvd_train.distributed import Placement, World, gathering
from hvd_train.events import Watch
from hvd_train.processes import Stopped, ran_out, stop_handler
from hvd_train.runs.directory import RunDir
from hvd_train.watchdog import Address, Limits, Watchdog


def last_checkpoint_line(run_dir: RunDir, *, on_root: bool = True) -> str:
    """What to tell a user whose run ended before its time. Another host than the root's may not see the run directory."""
    if run_dir.last.exists():
        return f"The last checkpoint is whole: {run_dir.last}. Go on with: hvd-train train --resume {run_dir.path}"
    return "There was no checkpoint yet." if on_root else ""


def how_stopped(stopped: Stopped, placement: Placement) -> str:
    """How a signal came here: on Ctrl-C a rank hears nothing of it but mpirun's SIGTERM."""
    by_mpirun = placement.launcher == "mpirun" and str(stopped) == "SIGTERM"
    return f"stopped by {stopped}" + (" from mpirun, which sends it on Ctrl-C, too" if by_mpirun else "")


@contextlib.contextmanager
def guarded(world: World, limits: Limits, *, hint: Callable[[], str]) -> Iterator[Watch]:
    """Watch over the ranks while the block runs. All ranks (the watchdog's address is broadcast).

    A signal raises Stopped in the block; a rank that cannot come back to Python is ended all the same, and the root
    says how to go on (`hint`). An exception tells the watchdog that this rank has a message of its own. In the block
    `world.watch` is the watch, too.
    """

    def broadcast(address: Address) -> Address:
        # A rank that froze since the ranks have met would keep the others here, where nobody is watched yet.
        with gathering(world.placement, "begin the watch", limit_s=limits.watchdog_s):
            return world.broadcast(address)

    watchdog = Watchdog.start(
        rank=world.rank,
        size=world.size,
        host=world.placement.host,
        broadcast=broadcast,
        limits=limits,
        hint=hint,
        one_host=world.placement.local_size == world.size,
    )

    def message() -> str:
        return f"stopped by a signal. {hint()}" if world.is_root else ""

    with stop_handler(message, on_signal=lambda _: watchdog.stopping()) as stop:
        world.watch = watchdog
        try:
            yield watchdog
        except BaseException as error:
            if stop.stopped is not None:
                # Whatever became of it on the way here: a rank that is stopped has no failure of its own to tell.
                stop.release()
                raise stop.stopped from None
            watchdog.failed(ran_out(error) or f"{type(error).__name__}: {error}")
            raise
        finally:
            world.watch = Watch()
    watchdog.close()
