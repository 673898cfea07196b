"""pytest itself runs under mpirun here: every rank runs every test, in the same order. Expected values are formulas in
rank and size, so any number of ranks will do, one too.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvd_train.distributed.opening import open_world
from hvd_train.distributed.world import World


def pytest_configure() -> None:
    """Give each rank a root of its own for pytest's temporary directories: a session clears old ones as it ends, and
    those that clear the same at once fall over each other (OSError: Directory not empty).
    """
    if rank := os.environ.get("OMPI_COMM_WORLD_RANK"):
        root = Path(tempfile.gettempdir()) / f"pytest-of-{getpass.getuser()}-rank-{rank}"
        root.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(root))


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    opened = open_world()
    yield opened
    opened.close()


@pytest.fixture
def shared_dir(world: World, tmp_path: Path) -> Path:
    """One temporary directory for all ranks: the root's."""
    return Path(world.broadcast(str(tmp_path)))
