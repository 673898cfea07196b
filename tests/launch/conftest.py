"""What a test calls in this process itself (`main([...])`) sets variables for speed; the next test begins without them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    before, cores = dict(os.environ), os.sched_getaffinity(0)
    yield
    for key in set(os.environ) - set(before):
        del os.environ[key]
    os.environ.update(before)
    os.sched_setaffinity(0, cores)
