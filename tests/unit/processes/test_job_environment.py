"""The environment that measured and supervised jobs get."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hvd_train.processes import jobs

BESIDE = str(Path(sys.prefix) / "bin")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/usr/bin{os.pathsep}{BESIDE}", f"/usr/bin{os.pathsep}{BESIDE}"),
        # Our mpirun is called by its path, and looks for ssh or its stand-in in PATH.
        ("/usr/bin", f"/usr/bin{os.pathsep}{BESIDE}"),
    ],
)
def test_programs_of_this_environment_are_found(path: str, expected: str) -> None:
    assert jobs.environment({"PATH": path})["PATH"] == expected
