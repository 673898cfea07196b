"""Whether somebody watches the output of this rank on a terminal, so that a progress bar makes sense."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from hvd_train.cli.safe_console import SafeConsole
from hvd_train.distributed import detect_placement
from hvd_train.processes import is_launcher_command

# Columns of a table without a terminal.
PLAIN_WIDTH = 110


def plain_or_live() -> Console:
    """A console that knows whether someone is watching it.

    mpirun gives its local ranks a terminal of their own, whatever its output goes to, and horovodrun puts a tag before
    every line: there a bar that redraws itself would become a heap of control characters. So under a launcher its own
    output is looked at, and a bar is drawn only where mpirun hands bytes through to a terminal.
    """
    placement = detect_placement(os.environ)
    live = None if not placement.launcher else mpirun_shows_terminal(Path(f"/proc/{os.getppid()}"))
    console = SafeConsole(force_terminal=live)
    return console if console.is_terminal else SafeConsole(force_terminal=live, width=PLAIN_WIDTH)


def mpirun_shows_terminal(parent: Path) -> bool:
    """Whether the process with this folder in /proc is an mpirun that hands bytes through to a terminal.

    Any other parent, such as a shell on a terminal or mpirun's daemon on another host, shows this rank nothing.
    """
    try:
        command = parent.joinpath("cmdline").read_bytes()
        tagged = any(word in command for word in (b"tag-output", b"timestamp-output", b"xml"))
        shown = os.readlink(parent / "fd" / "1").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
    return is_launcher_command(os.fsdecode(command).split("\0")) and shown and not tagged
