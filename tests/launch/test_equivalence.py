"""The number of ranks does not change the experiment, and an interruption does not either.

What is compared is what a user sees: metrics.csv and report.json of real runs under horovodrun, without dropout.
"""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest
from processes import horovodrun, run, started

NUM_EPOCHS = 3
# No dropout and no batch statistics: those are drawn or computed by each rank for itself.
FLAGS = ["train", "--recipe", "debug", "--num-epochs", str(NUM_EPOCHS), "--base-learning-rate", "0.003"]
STEP_1 = 1e-6
CURVE = 1e-3


def command(np: int, run_dir: Path, *flags: str) -> list[str]:
    program = ["hvd-train", *FLAGS, "--run-dir", str(run_dir), *flags]
    return program if np == 1 else horovodrun(np, *program)


def curve(run_dir: Path) -> list[dict[str, float]]:
    with (run_dir / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def report(run_dir: Path) -> dict:
    return json.loads((run_dir / "report.json").read_text())


def assert_same_curve(one: list[dict[str, float]], other: list[dict[str, float]], rel: float) -> None:
    assert [row["epoch"] for row in one] == [row["epoch"] for row in other]
    for a, b in zip(one, other, strict=True):
        for name in ("loss", "val_loss", "val_rmse", "val_mae", "learning_rate"):
            assert a[name] == pytest.approx(b[name], rel=rel), f"{name} of epoch {a['epoch']:g}"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A run directory for each number of ranks."""
    runs = {}
    for np in (1, 2, 4):
        runs[np] = tmp_path_factory.mktemp("runs") / f"np{np}"
        run(command(np, runs[np]), timeout_s=240)
    return runs


@pytest.mark.parametrize("np", [2, 4])
def test_the_curve_is_the_same_at_any_number_of_ranks(uninterrupted: dict[int, Path], np: int) -> None:
    assert len(curve(uninterrupted[1])) == NUM_EPOCHS
    assert_same_curve(curve(uninterrupted[np]), curve(uninterrupted[1]), CURVE)
    for split in ("val", "test"):
        assert report(uninterrupted[np])["metrics"][split] == pytest.approx(
            report(uninterrupted[1])["metrics"][split], rel=CURVE
        )
        # Every row of a split counts exactly once: the baselines, counts of the metadata alone, are equal.
        assert report(uninterrupted[np])["baselines"] == report(uninterrupted[1])["baselines"]
    assert report(uninterrupted[np])["size"] == np


@pytest.mark.parametrize("np", [2, 4])
def test_the_loss_of_step_1_is_the_same_to_1e_6(tmp_path: Path, np: int) -> None:
    """With one step an epoch, the first epoch's training loss is the loss of step 1."""
    first = {}
    for size in (1, np):
        run_dir = tmp_path / f"np{size}"
        run(
            command(size, run_dir, "--num-epochs", "1", "--num-songs", "2000", "--global-batch-size", "1536"),
            timeout_s=240,
        )
        (row,) = curve(run_dir)
        first[size] = row["loss"]
    assert first[np] == pytest.approx(first[1], rel=STEP_1)


def test_interrupted_at_np_2_and_resumed_at_np_1_and_4_is_the_same_run(
    uninterrupted: dict[int, Path], tmp_path: Path
) -> None:
    run_dir = tmp_path / "interrupted"
    # Epochs long enough to be hit in the middle: a pause after each step's end would be no real run.
    with started(
        command(2, run_dir, "--checkpoint-every-steps", "4", "--steps-per-execution", "1"), timeout_s=240
    ) as job:
        job.wait_for("epoch  1/3", timeout_s=200)
        job.signal(signal.SIGTERM)
        finished = job.wait(60)
    assert finished.code != 0, str(finished)
    assert not finished.left_behind
    assert not (run_dir / "DONE").exists(), "the run ended before the signal came"
    for np in (1, 4):
        resumed = tmp_path / f"resumed{np}"
        shutil.copytree(run_dir, resumed)
        program = ["hvd-train", "train", "--resume", str(resumed)]
        run(program if np == 1 else horovodrun(np, *program), timeout_s=240)
        assert len(curve(resumed)) == NUM_EPOCHS
        # The epoch that was cut shows the training loss of its second part alone; validation is of the whole.
        for a, b in zip(curve(resumed), curve(uninterrupted[1]), strict=True):
            for name in ("val_loss", "val_rmse", "learning_rate"):
                assert a[name] == pytest.approx(b[name], rel=CURVE), f"np = {np}: {name} of epoch {a['epoch']:g}"
        assert report(resumed)["metrics"]["test"] == pytest.approx(
            report(uninterrupted[1])["metrics"]["test"], rel=CURVE
        )
