"""The unit tests take seconds: few drawn examples a test, and files that wait for no disk.

`--hypothesis-profile=thorough` draws as many examples as the rest of the suite waits for (`make test-all`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy  # noqa: F401  # before the limit: it holds for libraries that are loaded
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=150, deadline=None)
settings.load_profile("quick")  # before pytest's option, which takes precedence

# Tests run side by side, on a core each; the threads of a matrix library would wait for each other in a loop.
threadpool_limits(1)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """A converted table is 192 files. To flush each of them takes a third of the time, and no test pulls a plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
