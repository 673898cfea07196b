"""A table from the standard input, as a file: readers look at its beginning before they read it, and ranks share it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hvd_train.distributed import World
from hvd_train.errors import DataError

_COPY_BYTES = 1 << 20


@contextmanager
def spooled_input(world: World) -> Iterator[Path]:
    """The standard input of the root in a temporary file, which is gone after the block. All ranks, all on one host.

    Raises DataError alike on all ranks: there is none, or the ranks run on several hosts.
    """
    if world.placement.local_size != world.size:
        raise DataError(
            f"--data -: the standard input reaches one host, and the {world.size} ranks run on several. "
            "Write the table to a file that all hosts see, or use the ranks of one host."
        )
    folder: list[Path] = []
    try:
        path = world.together(lambda: _spooled(folder), on="root")
        assert path is not None
        try:
            yield path
        except DataError as error:  # a user has never heard of that file
            raise DataError(str(error).replace(str(path), "the standard input")) from None
    finally:
        for path in folder:
            shutil.rmtree(path, ignore_errors=True)


def _spooled(folder: list[Path]) -> Path:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise DataError(
            "--data -: the standard input is a terminal. Pipe a table into it, such as: cat songs.csv | hvd-train predict ..."
        )
    folder.append(Path(tempfile.mkdtemp(prefix="hvd_train-")))
    path = folder[0] / "standard-input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, _COPY_BYTES)
    return path
