"""The barrier of horovod/patches, between processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def barrier(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("barrier") / "host_barrier"
    files = [Path(__file__).with_name("host_barrier.cc"), sources / "host_barrier.cc"]
    compiler = os.environ.get("CXX", "g++")
    subprocess.run(
        [compiler, "-std=c++14", "-Wall", "-Werror", f"-I{sources}", "-o", built, *files, "-pthread"], check=True
    )
    return built


@pytest.mark.parametrize(("size", "rounds", "polls_us"), [(2, 20_000, 1000), (4, 5_000, 0), (5, 2_000, 50)])
def test_nobody_passes_the_barrier_before_all_are_there(barrier: Path, size: int, rounds: int, polls_us: int) -> None:
    subprocess.run([barrier, str(size), str(rounds), str(polls_us)], timeout=60, check=True)


@pytest.mark.parametrize("polls_us", [0, 1000])
def test_a_wait_at_the_barrier_ends_where_a_process_has_ended(barrier: Path, polls_us: int) -> None:
    command = [barrier, "3", "1000", str(polls_us), "killed"]
    done = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True)
    assert done.stdout.count("The process of rank 0 has ended") == 2
