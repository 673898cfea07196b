"""Lock files: opened without following links, and never emptied unless they are ours."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

LONGEST_NOTE = 400


class NotALock(OSError):
    """Something else lies where the lock should be."""


def open_lock(path: Path, *, create: bool = True) -> int:
    """A descriptor of the lock file, for flock. Raises OSError; NotALock where a link or another thing is there.

    In a directory that others write to, a lock can be a link to any file of ours.
    """
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
    except PermissionError:
        descriptor = os.open(path, flags | os.O_RDONLY)  # another user's: it locks all the same
    except OSError as error:
        if path.is_symlink():
            raise NotALock(
                error.errno, "a symbolic link is there, which is not followed: remove it", str(path)
            ) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotALock(0, "something else than a file is there: remove it", str(path))
    return descriptor


def write_note(descriptor: int, text: str) -> None:
    """Say in the lock file who holds it, where the file is our own: no other's content is ever replaced."""
    facts = os.fstat(descriptor)
    if facts.st_uid == os.geteuid() and facts.st_nlink == 1:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(errors="replace"), 0)


def read_note(descriptor: int) -> str:
    """What its holder said, or nothing."""
    return os.pread(descriptor, LONGEST_NOTE, 0).decode(errors="replace").strip()


def process_name() -> str:
    """This process, for others to find."""
    return f"process {os.getpid()} on {socket.gethostname()}"
