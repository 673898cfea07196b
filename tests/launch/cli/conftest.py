"""One finished run, which many tests of the command look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_inputs import table, write
from processes import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a small table, by the command itself."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder / "songs.csv", table(600))
    learn = ["--num-epochs", "10", "--base-learning-rate", "0.02"]
    flags = ["--recipe", "debug", "--data", str(folder / "songs.csv"), "--run-dir", str(folder / "run"), *learn]
    done = run(["hvd-train", "train", *flags], timeout_s=120)
    assert "Test split" in done.stdout
    assert "trivial baseline" in done.stdout
    assert "rows a step" in done.stdout
    assert "\x1b" not in done.stdout, "control characters where there is no terminal"
    return folder
