"""A fuzzing process ends at once when its results are out.

After tens of thousands of tables the process sometimes hung at its exit, in Arrow's own threads, with all tests passed.
"""

from __future__ import annotations

import os
import sys

import pyarrow as pa
import pytest

# Arrow reserves an address space of 1 GB when it first allocates. Within the limits of an input it may not.
pa.array([1.0])

_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if (status := config.stash.get(_STATUS, None)) is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
