"""Every wait has a limit and says what it waited for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from hvd_train.errors import RankFailure
from hvd_train.processes import end_process


@contextlib.contextmanager
def time_limit(seconds: float, waiting_for: str, *, who: str = "this process") -> Iterator[None]:
    """End the process if the block takes longer than `seconds`.

    For waits that cannot be interrupted, such as a collective that another rank never enters.
    """
    message = f"error: {who} waited {seconds:.0f} s for {waiting_for}, which is the limit; ending the job."
    timer = threading.Timer(seconds, end_process, args=(message, RankFailure.exit_code))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
