"""scripts/parallel_tests.py on small files: what it says when a launch of several files fails, and how it goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from processes import REPOSITORY, Finished, run

FINE = "def test_fine(): pass\n"
LEAVES = "import sys\n\ndef test_leaves(): sys.left_behind = True\n"
FINDS = "import sys\n\ndef test_finds(): assert not hasattr(sys, 'left_behind')\n"
# The other rank waits, as in a collective.
FAILS = """
import os, time

def test_one_rank():
    assert os.environ["OMPI_COMM_WORLD_RANK"] == "0", "the planted failure"
    time.sleep(60)
"""
WAITS = "import time\n\ndef test_waits(): time.sleep(60)\n"
SLOW = "import pytest\n\n@pytest.mark.slow\ndef test_slow(): assert False\n"


def parallel_tests(folder: Path, *flags: str, ok: bool = True, limit_s: int = 60, **files: str) -> Finished:
    shutil.copy(REPOSITORY / "tests" / "parallel" / "conftest.py", folder)
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    command = [REPOSITORY / "scripts" / "parallel_tests.py", "2", *flags, folder]
    return run(command, timeout_s=120, ok=ok, env={"PARALLEL_TIMEOUT_S": str(limit_s)})


def test_the_files_of_a_folder_share_a_launch(tmp_path: Path) -> None:
    done = parallel_tests(tmp_path, "-m", "not slow", a=FINE, b=FINE, c=SLOW)
    assert "2 passed, 1 deselected" in done.stdout
    assert done.stdout.count("np=2") == 1


def test_a_folder_without_a_chosen_test_is_no_failure(tmp_path: Path) -> None:
    parallel_tests(tmp_path, "-m", "slow", a=FINE)


def test_a_failure_on_one_rank_names_it_and_the_files_after_it_go_on(tmp_path: Path) -> None:
    done = parallel_tests(tmp_path, a=FINE, b=FAILS, c=FINE, ok=False)
    assert done.seconds < 40, "the other rank was waited for"
    end = done.stdout[done.stdout.rindex("1 passed") :]
    assert "test_b.py: rank 1: " in end
    assert "the planted failure" in end
    assert "test_b.py: fails too in a launch of its own" in end


def test_a_failure_by_what_another_file_left_is_called_that(tmp_path: Path) -> None:
    done = parallel_tests(tmp_path, a=LEAVES, b=FINDS, ok=False)
    assert "test_b.py: PASSES in a launch of its own. What an earlier file" in done.stdout


@pytest.mark.slow
def test_at_the_limit_it_says_where_each_rank_was(tmp_path: Path) -> None:
    done = parallel_tests(tmp_path, b=WAITS, ok=False, limit_s=10)
    for rank in (0, 1):
        assert f"rank {rank} was in " in done.stdout
    assert "test_b.py::test_waits" in done.stdout
    assert "took longer than its limit of 10 s" in done.stdout
