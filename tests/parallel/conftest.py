"""pytest itself runs under mpirun here: every rank runs every test, in the same order. Expected values are formulas in
rank and size, so any number of ranks will do, one too.

The files of a folder share one launch (scripts/parallel_tests.py), so each test begins with the same process state. A test that
fails on one rank leaves the others waiting in a collective: the first failure is shown, and ends the job.
"""

from __future__ import annotations

import gc
import getpass
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvd_train.distributed.opening import open_world
from hvd_train.distributed.world import World

RANK = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
SIZE = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))


def pytest_configure() -> None:
    """Give each rank a root of its own for pytest's temporary directories: a session clears old ones as it ends, and
    those that clear the same at once fall over each other (OSError: Directory not empty).
    """
    if "OMPI_COMM_WORLD_RANK" in os.environ:
        root = Path(tempfile.gettempdir()) / f"pytest-of-{getpass.getuser()}-rank-{RANK}"
        root.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(root))


def note(kind: str, text: str) -> None:
    """Leave word for scripts/parallel_tests.py, if it started this."""
    if directory := os.environ.get("HVD_TRAIN_TEST_NOTES"):
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)  # on another host
        (path / f"{kind}.{RANK}").write_text(text)


def pytest_runtest_logstart(nodeid: str, location: tuple[str, int | None, str]) -> None:
    note("in", f"{location[0]}::{nodeid.partition('::')[2]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        captured = "\n".join(f"--- {title}\n{text}" for title, text in report.sections)
        text = f"{report.nodeid} failed\n{report.longreprtext}\n{captured}\n"
        note("failed", text)
        if SIZE > 1:
            sys.__stderr__.write(f"\nrank {RANK}: {text}")  # type: ignore[union-attr]
            sys.__stderr__.flush()  # type: ignore[union-attr]
            os._exit(1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A choice by markers may leave nothing of a folder, which is no failure."""
    gc.freeze()  # pytest looks for garbage ten times as it ends, among a million objects of TensorFlow
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    opened = open_world()
    gc.freeze()
    yield opened
    opened.close()


@pytest.fixture
def shared_dir(world: World, tmp_path: Path) -> Path:
    """One temporary directory for all ranks: the root's."""
    return Path(world.broadcast(str(tmp_path)))


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a test sets in the environment, the next one does not see."""
    before = dict(os.environ)
    yield
    for key in set(os.environ) - set(before) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[key]
    os.environ.update({key: value for key, value in before.items() if key != "PYTEST_CURRENT_TEST"})
