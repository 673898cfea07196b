"""Every wait has a limit and says what it waited for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from hvd_train.errors import RankFailure


def end_process(message: str, code: int = RankFailure.exit_code) -> None:
    """Write `message` and end this process at once, from any thread; the launcher then ends the other ranks.

    A plain exit would first run Horovod's shutdown, which waits for ranks that may no longer answer.
    """
    sys.stderr.write(message.rstrip("\n") + "\n")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


@contextlib.contextmanager
def time_limit(seconds: float, waiting_for: str, *, who: str = "this process") -> Iterator[None]:
    """End the process if the block takes longer than `seconds`.

    For waits that cannot be interrupted, such as a collective that another rank never enters.
    """
    message = f"error: {who} waited {seconds:.0f} s for {waiting_for}, which is the limit; ending the job."
    timer = threading.Timer(seconds, end_process, args=(message,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
