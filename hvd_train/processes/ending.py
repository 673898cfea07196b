"""End this process at once with one message, from any thread, whatever the main thread is stuck in."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import NoReturn

from hvd_train.text import printable

# Seconds that writing the message may take: standard error can be a pipe that no process reads any more.
WRITE_LIMIT_S = 2.0
GENERATED = "__autograph_generated_file"
_first = threading.Lock()


def end_process(message: str, code: int) -> NoReturn:
    """Write `message`, if it is not empty, to standard error and leave with `code`. Never returns.

    A plain exit would first run the shutdown of Horovod, which waits for ranks that may no longer answer. Only the
    first caller writes its message. A later one waits for the end.
    """
    _first.acquire()
    writer = threading.Thread(target=_write, args=(message,), daemon=True)
    try:
        writer.start()
        writer.join(WRITE_LIMIT_S)
    except RuntimeError:  # the interpreter is shutting down and starts no more threads
        _write(message)
    leave(code)


def leave(code: int) -> NoReturn:
    """Leave at once with `code`. Of the work of a plain exit only one thing is done: files of TensorFlow are removed.

    For each function that it traces it writes a source file into the folder for temporary files.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(GENERATED):
            with contextlib.suppress(Exception):
                os.unlink(str(module.__file__))
    os._exit(code)


def _write(message: str) -> None:
    # One write to the descriptor: sys.stderr has a lock, which the stuck main thread may hold.
    with contextlib.suppress(OSError):
        if message.strip():
            os.write(2, (printable(message).rstrip("\n") + "\n").encode(errors="replace"))
    with contextlib.suppress(Exception):
        sys.stdout.flush()
