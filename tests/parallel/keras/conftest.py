"""These tests run under mpirun: `mpirun -np N python -m pytest tests/parallel/keras`, with any N.

A test that fails on one rank leaves the others waiting in a collective; so the first failure is shown and ends the job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import keras
import pytest

import hvd_train.keras as hvd

hvd.init(process_sets="dynamic")


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Every rank begins each test with the same seeds, names and precision."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed and hvd.size() > 1:
        captured = "\n".join(f"--- {title}\n{text}" for title, text in report.sections)
        sys.__stderr__.write(f"\nrank {hvd.rank()}: {report.nodeid} failed\n{report.longreprtext}\n{captured}\n")
        sys.__stderr__.flush()
        os._exit(1)
