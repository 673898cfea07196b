"""How a rank ends after an error: what it writes, which exit code it has, and who writes it.

The command line and `with open_world() as world:` end alike. Where there are several ranks the process leaves at once.
A plain exit would run the engine's shutdown, which waits for ranks that may sit in a collective.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from hvd_train.distributed.placement import Placement
from hvd_train.errors import HvdTrainError, MissingEnvironment, ToBeContinued
from hvd_train.processes import MEMORY_RAN_OUT, STOP_SIGNALS, Stopped, leave, ran_out
from hvd_train.text import printable

# A rank that ends with an error of all ranks waits this long for the root to write it: the first to end, ends all.
LET_ROOT_SPEAK_S = 5.0
# Ranks that end together close the engine first, so that none sees another disappear. It may take so long.
LEAVE_S = 5.0


@dataclass(frozen=True)
class Ending:
    """The end of one rank."""

    code: int
    message: str = ""
    everywhere: bool = False
    """Whether the error is this rank's own, which it writes itself. Otherwise all ranks share it and the root writes it."""


def ending_of(error: BaseException, placement: Placement) -> Ending:
    """The end that an error calls for. Call it while the error is handled: the message of a defect has its traceback."""
    if isinstance(error, ToBeContinued):
        return Ending(error.exit_code, str(error))
    if isinstance(error, HvdTrainError):
        return Ending(error.exit_code, f"error: {error}", everywhere=isinstance(error, MissingEnvironment))
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return Ending(error.code or 0)  # what there is to say has been said
        return Ending(1, str(error.code), everywhere=True)
    if isinstance(error, Stopped):
        return Ending(error.exit_code, f"stopped by {error}")
    if isinstance(error, KeyboardInterrupt):
        return Ending(130, "stopped")
    if why := ran_out(error):
        return Ending(MEMORY_RAN_OUT, f"error: {why}", everywhere=True)
    trace = "".join(traceback.format_exception(error))
    return Ending(1, f"{trace}error: {placement} failed: {type(error).__name__}: {error}", everywhere=True)


def end_rank(placement: Placement, code: int, message: str = "", *, everywhere: bool = False) -> int:
    """Write the message and end this rank. Returns the code where this process is the only rank.

    The root writes what all ranks share. Every rank writes what is its own (`everywhere`).
    """
    if message and (placement.is_root or everywhere):
        _write(message, placement if everywhere else None)
    if placement.size > 1 and code:
        sys.stdout.flush()
        if not placement.is_root and not everywhere:
            time.sleep(LET_ROOT_SPEAK_S)
        leave(code)
    return code


def end_block(placement: Placement, ending: Ending) -> None:
    """End a rank whose `with open_world()` block failed; returns where this process is the only rank.

    A user's own code may fail on one rank alone, also with an error that ranks usually share. So a rank that still runs
    after the root had time to write the error writes it itself.
    """
    if placement.size == 1:
        return
    sys.stdout.flush()
    if not placement.is_root and not ending.everywhere:
        time.sleep(LET_ROOT_SPEAK_S)
    if ending.message:
        _write(ending.message, None if placement.is_root and not ending.everywhere else placement)
    leave(ending.code)


def end_continued(placement: Placement, error: ToBeContinued, close: Callable[[], None]) -> int:
    """End a rank of a run whose ranks all raised ToBeContinued. Returns the code where this process is the only rank.

    The root writes the message. `close` leaves the engine, which all ranks do together.
    """
    if placement.is_root:
        _write(str(error), None)
    if placement.size > 1:
        sys.stdout.flush()
        limit = threading.Timer(LEAVE_S, leave, args=(error.exit_code,))
        limit.daemon = True
        limit.start()
        if threading.current_thread() is threading.main_thread():
            # The launcher ends all ranks after the first exit. Each is about to leave with the code that says what it did.
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        close()
        leave(error.exit_code)
    return error.exit_code


def _write(message: str, rank: Placement | None) -> None:
    """One write to standard error, with the rank in front where it matters."""
    prefix = f"[{rank}] " if rank is not None and rank.size > 1 else ""
    sys.stderr.write(printable(prefix + message) + "\n")
    sys.stderr.flush()
