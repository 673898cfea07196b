"""A cluster of watchdogs in this process, which leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from watchdog_cluster import Cluster, wait_until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    before = threading.active_count()
    one = Cluster()
    yield one
    for rank in one.ranks:
        rank.close()
    wait_until(lambda: threading.active_count() == before)
