"""The C++ of the patches by itself: the barrier between processes, the exchange between threads, the CPUs of a host."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import horovod_sources as check_sources
import pytest

COMPILER = os.environ.get("CXX", "g++")
HERE = Path(__file__).parent


def compiled(sources: Path, folder: Path, test: str, *parts: str, flags: Sequence[str] = ()) -> Path:
    """The program of the test file `test` and the `parts` that it tests."""
    files = [HERE / f"{test}.cc", *(sources / f"{part}.cc" for part in parts)]
    command = [COMPILER, "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", *flags, f"-I{sources}"]
    subprocess.run([*command, "-o", folder / test, *files, "-pthread"], check=True, timeout=300)
    return folder / test


@pytest.fixture(scope="module")
def barrier(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(sources, tmp_path_factory.mktemp("barrier"), "host_barrier", "host_barrier")


@pytest.fixture(scope="module")
def thread_sanitizer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Its flag, where the compiler has it and its programs run."""
    folder = tmp_path_factory.mktemp("sanitizer")
    (folder / "empty.cc").write_text("int main() {}")
    probe = [COMPILER, "-fsanitize=thread", "-o", folder / "empty", folder / "empty.cc"]
    for command in (probe, [folder / "empty"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"{COMPILER} has no ThreadSanitizer that runs here: {done.stderr.strip().splitlines()[-1:]}")
    return ["-fsanitize=thread"]


EXCHANGE = ("block_reduce", "shared_windows", "host_barrier")


@pytest.fixture(scope="module")
def exchange(sources: Path, thread_sanitizer: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(sources, tmp_path_factory.mktemp("exchange"), "exchange", *EXCHANGE, flags=thread_sanitizer)


@pytest.fixture(scope="module")
def two_levels(sources: Path, thread_sanitizer: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = ("two_levels", "peer_links", "wire_rounding", *EXCHANGE)
    return compiled(sources, tmp_path_factory.mktemp("two_levels"), "two_levels", *parts, flags=thread_sanitizer)


@pytest.mark.parametrize(("size", "rounds", "polls_us"), [(2, 20_000, 1000), (4, 5_000, 0), (5, 2_000, 50)])
def test_nobody_passes_the_barrier_before_all_are_there(barrier: Path, size: int, rounds: int, polls_us: int) -> None:
    subprocess.run([barrier, str(size), str(rounds), str(polls_us)], timeout=60, check=True)


@pytest.mark.parametrize("polls_us", [0, 1000])
def test_a_wait_at_the_barrier_ends_where_a_process_has_ended(barrier: Path, polls_us: int) -> None:
    command = [barrier, "3", "1000", str(polls_us), "killed"]
    done = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True)
    assert done.stdout.count("The process of rank 0 has ended") == 2


@pytest.mark.parametrize(("size", "rounds", "poll_us"), [(2, 10, 1000), (3, 10, 0), (4, 6, 50)])
def test_ranks_exchange_without_a_data_race(exchange: Path, size: int, rounds: int, poll_us: int) -> None:
    """Negotiations, sums, updates and refusals. Ranks are threads here, since ThreadSanitizer sees one process alone.

    It reported each of these when they were tried: a relaxed load of the barrier's generation, a relaxed count of arrivals,
    either barrier of a reduction left out, and windows or words that do not alternate.
    """
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    command = [exchange, str(size), str(rounds), str(poll_us)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ranks_of_hosts", "poll_us"), [((1, 1), 1000), ((2, 2), 0), ((3, 1), 50), ((1, 2, 1), 0), ((1,) * 5, 0)]
)
def test_hosts_exchange_in_two_levels(two_levels: Path, ranks_of_hosts: tuple[int, ...], poll_us: int) -> None:
    """Negotiations, sums in a fixed order, rounding with error feedback, updates and refusals, without a data race."""
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    command = [two_levels, "3", str(poll_us), *map(str, ranks_of_hosts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("how", "why"), [("ended", "has failed|has ended"), ("silent", "has brought nothing for 2 s")])
def test_a_wait_for_another_host_ends(two_levels: Path, how: str, why: str) -> None:
    done = subprocess.run([two_levels, how], capture_output=True, text=True, timeout=60, check=True)
    assert re.search(f"The connection to rank 7 on another host ({why})", done.stdout), done.stdout


@pytest.mark.parametrize("cpus", [2, 1024, 1025, 4096])
def test_the_cpus_of_a_large_host_are_all_seen(sources: Path, tmp_path: Path, cpus: int) -> None:
    """On a made-up machine: the kernel refuses a mask that is too short for it."""
    program = compiled(sources, tmp_path, "affinity", "affinity")
    assert subprocess.run([program, str(cpus)], capture_output=True, text=True, check=True).stdout == f"{cpus} CPUs\n"


def test_lint_finds_bad_form_and_warnings(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.cc", tmp_path / "bad.cc"
    good.write_text("int Twice(int number) { return 2 * number; }\n")
    bad.write_text("int Zero( int number) { return 0; }\n")
    (form,) = check_sources.check_form([good, bad])
    assert "bad.cc:1:" in form
    (warning,) = check_sources.check_warnings([good, bad], tmp_path)
    assert "bad.cc:1:15: warning: unused parameter" in warning
