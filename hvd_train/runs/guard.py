"""Guards work on several ranks: a watchdog over them, and an end in good order on Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from hvd_train.distributed import Placement, World, gathering, launcher_of
from hvd_train.errors import RankFailure, ToBeContinued
from hvd_train.events import Watch
from hvd_train.processes import GRACE_S, STOP_SIGNALS, WARNING_SIGNALS, Stopped, early_end, ran_out, stop_handler
from hvd_train.runs.directory import RunDir
from hvd_train.watchdog import Address, Limits, Watchdog

# The watchdog names a rank that has died within a second or two, and one that fell silent within its limit.
TELLING_S = 15.0


def last_checkpoint_line(run_dir: RunDir, *, on_root: bool = True) -> str:
    """How to continue a run that ended early. Other hosts than that of the root may not see the run directory."""
    if run_dir.last.exists():
        return f"The last checkpoint is complete: {run_dir.last}. Go on with: hvd-train train --resume {run_dir.path}"
    return "There was no checkpoint yet." if on_root else ""


def how_stopped(stopped: Stopped, placement: Placement) -> str:
    """Which signal stopped this rank. On Ctrl-C some launchers send another one to their ranks."""
    launcher = launcher_of(placement)
    passed_on = str(stopped) == launcher.ctrl_c_signal != "SIGINT"
    sender = f" from {launcher.name}, which sends it on Ctrl-C, too" if passed_on else ""
    return f"stopped by {stopped}{sender}" + (f", {stopped.saved}" if stopped.saved else "")


def wait_to_be_ended(limits: Limits) -> None:
    """Leave the last word to the watchdog, which knows which rank was lost, and where."""
    time.sleep((limits.watchdog_s or 0.0) + TELLING_S)


@contextlib.contextmanager
def guarded(
    world: World, limits: Limits, *, hint: Callable[[], str], grace_s: float | None = GRACE_S, saves: bool = False
) -> Iterator[Watch]:
    """Watch over the ranks while the block runs. All ranks (the address of the watchdog is broadcast).

    On Ctrl-C and SIGTERM the block raises `Stopped`, a KeyboardInterrupt. Nothing is printed: the caller reports it. A
    rank that does not return to Python within `grace_s` seconds (None: without a limit) is ended all the same, and the
    root prints how to continue (`hint`). Outside the main thread signals are left alone: Python handles them there.

    With `saves` the block looks at `early_end` and raises `ToBeContinued` after a warning signal. Otherwise such a signal
    raises `Stopped`, too.

    An exception in the block is passed to the watchdog, so that no other rank reports this one as dead. In the block
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

    signals = STOP_SIGNALS if saves else (*STOP_SIGNALS, *WARNING_SIGNALS)
    with (
        stop_handler(message, grace_s=grace_s, on_signal=lambda _: watchdog.stopping(), signals=signals) as stop,
        early_end.listening(stop) if saves else contextlib.nullcontext(),
    ):
        world.watch = watchdog
        try:
            yield watchdog
        except ToBeContinued:
            # Of all ranks, and everything is saved. A stop that came meanwhile changes nothing.
            watchdog.stopping()
            stop.release()
            raise
        except BaseException as error:
            if isinstance(error, Stopped) and error.saved:  # by a signal to this rank or another
                watchdog.stopping()
                stop.release()
                raise
            if stop.stopped is not None:
                # A library may have made another exception of it on the way here. A stopped rank has no failure to report.
                stop.release()
                raise stop.stopped from None
            if world.has_lost_ranks(error):
                wait_to_be_ended(limits)
                raise RankFailure(
                    f"{world.placement} lost the connection to another rank, which has ended or cannot be reached."
                ) from None
            watchdog.failed(ran_out(error) or f"{type(error).__name__}: {error}")
            raise
        finally:
            world.watch = Watch()
    watchdog.close()
