"""Runs that are stopped and go on, against one that was left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.config import RunConfig
from hvd_train.distributed.world import World
from hvd_train.events import Watch
from hvd_train.runs import checkpoint
from hvd_train.runs.directory import RunDir
from hvd_train.training.run import train_and_evaluate

TIMES = ("seconds", "samples_per_s")


def skip_unless_shared(world: World, number: int, what: str) -> None:
    """Skip where the ranks cannot share so many of them equally. All ranks."""
    if number % world.size:
        pytest.skip(f"{world.size} ranks cannot share {number} {what}")


def common_run_dir(world: World, factory: pytest.TempPathFactory) -> RunDir:
    """A run directory that does not exist yet, the same on all ranks. All ranks."""
    return RunDir(Path(world.broadcast(str(factory.mktemp("common") / "run"))))


def use_own_metric(world: World, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write own.py into a folder that all ranks share, and work there, so that "own.py:NAME" is found. All ranks."""
    if world.is_root:
        (folder / "own.py").write_text(text)
    world.allgather(0)
    monkeypatch.chdir(folder)


class Interrupted(Exception):
    pass


class StopAt(Watch):
    """Raises on every rank alike, right after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, step: int) -> None:
        if step == self.step:
            raise Interrupted


def stopped(config: RunConfig, world: World, run_dir: RunDir, *steps: int) -> None:
    """Train as `config` says, stopped right after each of `steps`; before the next it goes on from the last checkpoint."""
    for number, step in enumerate(steps):
        with pytest.raises(Interrupted):
            train_and_evaluate(config, world, run_dir, resume=number > 0, watch=StopAt(step))
    world.allgather(0)  # the root has written its last checkpoint


def assert_same_end(run_dir: RunDir, whole: RunDir) -> None:
    """Weights, moments, averages, random generators and every epoch's figures are the same, bit for bit."""
    for path, of_whole in ((run_dir.last, whole.last), (run_dir.best, whole.best)):
        one, other = checkpoint.load(path), checkpoint.load(of_whole)
        assert one.names == other.names
        values = zip(one.names, one.variables, other.variables, strict=True)
        assert [name for name, a, b in values if a.tobytes() != b.tobytes()] == []
        for a, b in zip(one.state.history, other.state.history, strict=True):
            assert {k: v for k, v in a.items() if k not in TIMES} == {k: v for k, v in b.items() if k not in TIMES}
