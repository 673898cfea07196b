"""What a test calls in this process itself (`main([...])`) sets variables for speed; the next test begins without them.

So does what a fixture of a whole file calls: it runs before the first test's own fixtures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def _environment_kept() -> Iterator[None]:
    before, cores = dict(os.environ), os.sched_getaffinity(0)
    yield
    for key in set(os.environ) - set(before):
        del os.environ[key]
    os.environ.update(before)
    os.sched_setaffinity(0, cores)


@pytest.fixture(autouse=True, scope="module")
def _own_environment_of_a_file() -> Iterator[None]:
    with _environment_kept():
        yield


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    with _environment_kept():
        yield
