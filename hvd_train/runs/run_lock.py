"""One run directory, one program that writes there: the lock that all ranks take together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hvd_train.runs.directory import RunDir
from hvd_train.runs.directory_lock import lock_directory

if TYPE_CHECKING:
    from hvd_train.distributed import World


@contextlib.contextmanager
def lock_run_dir(
    run_dir: RunDir, world: World, *, new: bool, notify: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of `run_dir` while the block runs, so that no other program writes there. All ranks.

    The root takes the lock, and makes the directory if need be. `notify` is called with a sentence before a wait.

    Raises:
        UserError: alike on all ranks, where another program holds the lock; with `new` also where `run_dir` holds the
            results of a run.
    """
    with contextlib.ExitStack() as stack:

        def take() -> None:
            lock = lock_directory(
                run_dir.path, what="The run directory", flag="--run-dir", made=run_dir.made, notify=notify
            )
            stack.enter_context(lock)
            if new:
                run_dir.refuse_if_used()

        world.together(take, on="root")
        yield
