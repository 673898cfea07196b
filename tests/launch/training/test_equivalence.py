"""The number of ranks does not change the experiment, and an interruption does not either.

What is compared is what a user sees: metrics.csv and report.json of real runs under horovodrun, with dropout.
"""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from pace import Pace
from processes import horovodrun, run, started

NUM_EPOCHS = 3
# The default recipe's dropout. No batch statistics: those are computed by each rank for itself.
DROPOUT = ("--conv-dropout", "0.2", "--dense-dropout", "0.5")
WHOLE = ("--num-epochs", str(NUM_EPOCHS), "--base-learning-rate", "0.003", *DROPOUT)
# One step is an epoch, so the first epoch's training loss is the loss of step 1.
ONE_STEP = ("--num-epochs", "1", "--num-songs", "2000", "--global-batch-size", "1536", *DROPOUT)
AUGMENTED = (*WHOLE, "--num-songs", "2000", "--noise", "0.2", "--feature-dropout", "0.1", "--mixup-alpha", "0.3",
             "--targets", "gaussian", "--balance", "repeat", "--balance-evenness", "0.5")  # fmt: skip
# The rate is low: hundreds of steps blow up the rounding in which two numbers of ranks differ.
LONG = (*WHOLE, "--base-learning-rate", "0.0003", "--num-songs", "20000", "--global-batch-size", "64",
        "--checkpoint-every-steps", "20", "--steps-per-execution", "1")  # fmt: skip
LOCAL = (*WHOLE, "--global-batch-size", "64", "--local-steps", "8")
STEP_1 = 1e-6
CURVE = 1e-3

Trained = Callable[..., Path]


def command(np: int, *flags: str | Path) -> list[str]:
    program = ["hvd-train", "train", *map(str, flags)]
    return program if np == 1 else horovodrun(np, *program)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The directory of a run with these flags at this np, trained once for the module."""
    done: dict[tuple[object, ...], Path] = {}

    def train(np: int, *flags: str) -> Path:
        if (np, flags) not in done:
            run_dir = done[np, flags] = tmp_path_factory.mktemp("runs") / f"np{np}"
            run(command(np, "--recipe", "debug", "--run-dir", run_dir, *flags), timeout_s=240)
        return done[np, flags]

    return train


def curve(run_dir: Path) -> list[dict[str, float]]:
    with (run_dir / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def checkpoint(run_dir: Path) -> dict[str, bytes]:
    """Every array of the last one, moments and random generators too; the note holds times."""
    with numpy.load(run_dir / "checkpoints" / "last.npz") as arrays:
        return {name: arrays[name].tobytes() for name in arrays if name != "note"}


def report(run_dir: Path) -> dict:
    return json.loads((run_dir / "report.json").read_text())


def assert_same_run(
    one: Path, other: Path, *, names: tuple[str, ...] = ("loss", "val_loss", "val_rmse", "learning_rate")
) -> None:
    assert len(curve(one)) == len(curve(other)) == NUM_EPOCHS
    for a, b in zip(curve(one), curve(other), strict=True):
        for name in names:
            assert a[name] == pytest.approx(b[name], rel=CURVE), f"{name} of epoch {a['epoch']:g}"
    for split in ("val", "test"):
        assert report(one)["metrics"][split] == pytest.approx(report(other)["metrics"][split], rel=CURVE)


@pytest.mark.parametrize("np", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_the_curve_is_the_same_at_any_number_of_ranks(trained: Trained, np: int) -> None:
    assert_same_run(trained(np, *WHOLE), trained(1, *WHOLE))
    assert report(trained(np, *WHOLE))["size"] == np
    # The weights of the end were compared bit for bit by the run itself: tests/parallel plants a difference.
    assert report(trained(np, *WHOLE))["config"]["training"]["check_equal_weights"]


@pytest.mark.slow
def test_the_loss_of_step_1_is_the_same_to_1e_6(trained: Trained) -> None:
    (alone,), (together,) = curve(trained(1, *ONE_STEP)), curve(trained(4, *ONE_STEP))
    assert together["loss"] == pytest.approx(alone["loss"], rel=STEP_1)


@pytest.mark.slow
def test_augmentation_and_balancing_do_not_depend_on_it_either(trained: Trained) -> None:
    assert_same_run(trained(2, *AUGMENTED), trained(1, *AUGMENTED))


@pytest.mark.slow
def test_local_steps_do_not_depend_on_it_either(trained: Trained) -> None:
    assert_same_run(trained(4, *LOCAL), trained(1, *LOCAL))


@pytest.mark.slow
def test_interrupted_at_np_2_and_resumed_at_np_1_2_and_4_is_the_same_run(trained: Trained, tmp_path: Path) -> None:
    run_dir, pace = tmp_path / "interrupted", Pace(tmp_path, 4.0)
    long = (*LONG, *pace.flags)
    with started(command(2, "--recipe", "debug", "--run-dir", run_dir, *long), timeout_s=240) as job:
        job.wait_for("epoch  1/3", timeout_s=200)
        job.signal(signal.SIGTERM)
        finished = job.wait(60)
    pace.set(0.0)
    assert finished.code != 0, str(finished)
    assert not finished.left_behind
    assert not (run_dir / "DONE").exists(), "the run ended before the signal came"
    for np in (1, 2, 4):
        resumed = tmp_path / f"resumed{np}"
        shutil.copytree(run_dir, resumed)
        run(command(np, "--resume", resumed), timeout_s=240)
        assert_same_run(resumed, trained(2, *long))
    assert checkpoint(tmp_path / "resumed2") == checkpoint(trained(2, *long)), "at an equal number, bit for bit"
