"""TensorFlow's threads are set once, before its first use: the ranks come up before any network is built."""

from __future__ import annotations

import pytest

from hvd_train.distributed.world import World


@pytest.fixture(autouse=True)
def _ranks_first(world: World) -> None:
    return None
