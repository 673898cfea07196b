"""The lock of a directory: one program at a time writes there. The root holds it while its run lasts.

    with lock_directory(run_dir.path, what="The run directory", flag="--run-dir"):      # root only
        ...

The lock is an flock on the file `.lock`, which names its holder. The kernel frees it when the holder dies, however that
happens. A network file system may not share flocks between machines. So the holder also touches the file every few
seconds. A program that finds the name of a holder on another machine waits until the file was not touched for SILENT_S.
A holder that was killed there delays the next start by that time at most, once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hvd_train.errors import UserError
from hvd_train.files import open_lock, process_name, read_note, write_note
from hvd_train.schedulers import detect_job
from hvd_train.text import one_line

LOCK = ".lock"
BEAT_S = 5.0
SILENT_S = 60.0
# One that only looks whether somebody is there holds the lock for a moment.
PATIENCE_S, POLL_S = 0.5, 0.05
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class _InUse(Exception):
    """Its text is who holds the lock."""


def not_writable(
    directory: Path, error: OSError, *, what: str = "The run directory", flag: str = "--run-dir"
) -> UserError:
    """The error for a directory that nothing can be written to."""
    return UserError(f"{what} {directory} cannot be written: {error.strerror or error}. Choose another with {flag}.")


def in_use(directory: Path, by: str, *, what: str = "The run directory", flag: str = "--run-dir") -> UserError:
    """The error for a directory that another program holds, which `by` names."""
    return UserError(f"{what} {directory} is in use by {by}. Wait until it has ended, or choose another with {flag}.")


@contextlib.contextmanager
def lock_directory(
    directory: Path,
    *,
    what: str,
    flag: str,
    made: Sequence[Path] = (),
    notify: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold `directory`, which is made if need be. UserError where another program holds it, or nothing can be written.

    Messages call it `what` and name the `flag` that chooses another. What was made (also `made`, before) is removed at
    the end if nothing was written there. `notify` is called with a sentence before a wait.
    """
    try:
        made = [*make(directory), *made]
        descriptor = _take(directory, notify)
    except OSError as error:
        _remove_empty(made)
        raise not_writable(directory, error, what=what, flag=flag) from None
    except _InUse as error:
        raise in_use(directory, str(error), what=what, flag=flag) from None
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, ended), name="hvd_train lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(directory / LOCK)):
                os.unlink(directory / LOCK)
        os.close(descriptor)
        _remove_empty(made)


def holder(directory: Path) -> str | None:
    """Who holds `directory` now, in words; None where nobody does. Changes nothing and does not wait."""
    try:
        descriptor = open_lock(directory / LOCK, create=False)
    except OSError:
        return None
    try:
        name, boot = _read(descriptor)
        if not _lock(descriptor, fcntl.LOCK_SH):
            return name
        return name if boot not in ("", boot_id()) and _silent_for(directory, descriptor) < SILENT_S else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def make(directory: Path) -> list[Path]:
    """Make a directory and those above it; which of them are new, the deepest first. Raises OSError."""
    missing = [path for path in [directory, *directory.parents] if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def boot_id() -> str:
    """Of this kernel since it started: the same in all its containers."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def _take(directory: Path, notify: Callable[[str], None] | None) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        descriptor = open_lock(directory / LOCK)
        try:
            if _lock(descriptor, fcntl.LOCK_EX):
                if not _is_there(directory, descriptor):  # its holder has just removed it
                    os.close(descriptor)
                    continue
                _outwait_other_machine(directory, descriptor, notify)
                write_note(descriptor, _note())
                return descriptor
            if time.monotonic() > deadline:
                raise _InUse(_read(descriptor)[0])
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(POLL_S)


def _lock(descriptor: int, kind: int) -> bool:
    """Whether nobody else on this machine holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_there(directory: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(directory / LOCK, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _outwait_other_machine(directory: Path, descriptor: int, notify: Callable[[str], None] | None) -> None:
    """Return when a holder on another machine, if one is named, has been silent for SILENT_S; UserError when it is not."""
    name, boot = _read(descriptor)
    if boot in ("", boot_id()):
        return
    silent_s, first = _silent_for(directory, descriptor), os.fstat(descriptor).st_mtime_ns
    deadline = time.monotonic() + SILENT_S - silent_s
    if silent_s < SILENT_S and notify is not None:
        notify(
            f"{directory} was in use by {name} a moment ago: waiting up to {SILENT_S - silent_s:.0f} s for a sign of it"
        )
    while time.monotonic() < deadline:
        # Opened again: network file systems look at a file's times when it is opened.
        os.close(open_lock(directory / LOCK))
        if os.stat(directory / LOCK).st_mtime_ns != first:
            raise _InUse(name)
        time.sleep(min(1.0, BEAT_S / 2))


def _silent_for(directory: Path, descriptor: int) -> float:
    """Seconds since the holder's last touch, by the clock of the file system: those of two machines may differ."""
    probe = directory / f"{LOCK}.{os.getpid()}"
    try:
        made = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        now = time.time()  # not ours to write in
    else:
        now = os.fstat(made).st_mtime
        os.close(made)
        os.unlink(probe)
    return max(0.0, now - os.fstat(descriptor).st_mtime)


def _note() -> str:
    job = detect_job(os.environ)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"{process_name()}, since {since}{f', {job}' if job else ''}\n{boot_id()}\n"


def _read(descriptor: int) -> tuple[str, str]:
    """Who holds it, in words, and on which boot of which machine; empty where nobody said."""
    name, _, boot = read_note(descriptor).partition("\n")
    return one_line(name) or "another process", boot.strip()


def _beat(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(descriptor)


def _remove_empty(made: Sequence[Path]) -> None:
    for path in made:
        with contextlib.suppress(OSError):
            path.rmdir()
