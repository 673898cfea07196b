"""pytest itself runs under mpirun here: every rank runs every test, in the same order. Expected values are formulas in
rank and size, so any number of ranks will do, one too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hvd_train.world import World, open_world


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    opened = open_world()
    yield opened
    opened.close()


@pytest.fixture
def shared_dir(world: World, tmp_path: Path) -> Path:
    """One temporary directory for all ranks: the root's."""
    return Path(world.broadcast(str(tmp_path)))
