"""The metric that chooses the best epoch, in whole runs on the ranks that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from resuming import common_run_dir, skip_unless_shared, stopped

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.errors import CheckpointError, ConfigError
from hvd_train.events import Observer
from hvd_train.inference.evaluate import evaluate_run
from hvd_train.runs import RunDir, checkpoint, summary_of
from hvd_train.runs.report import Report
from hvd_train.training.run import train_and_evaluate

# Weighted by 1/n, a network unlearns the common years: the loss, which counts rows, is lowest early.
RARE = recipes.DEBUG.replace(
    table={"num_songs": 3000},
    split={"num_virtual_shards": 60},
    sampling={"balance": "inverse"},
    objective={"calibrate": False},  # the temperature would change the figures of the finished model
    training={
        "num_epochs": 6,
        "global_batch_size": 60,
        "monitor": "balanced_mae",
        "early_stopping_patience": 0.3,
        "steps_per_execution": 1,
    },
)


class Seen(Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.facts: dict[str, str] = {}

    def on_message(self, text: str) -> None:
        self.texts.append(text)

    def on_start(self, config: object, facts: dict[str, str], run_dir: object) -> None:
        self.facts = facts


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Report, Seen]:
    skip_unless_shared(world, 60, "virtual shards")
    run_dir, seen = common_run_dir(world, tmp_path_factory), Seen()
    report = train_and_evaluate(RARE, world, run_dir, callbacks=[seen] if world.is_root else [])
    return run_dir, report, Seen() if not world.is_root else seen


def test_the_epoch_with_the_best_figure_is_kept_and_reported(
    world: World, finished: tuple[RunDir, Report, Seen]
) -> None:
    run_dir, report, seen = finished
    figures = [row["val_balanced_mae"] for row in report.history]
    losses = [row["val_loss"] for row in report.history]
    assert report.best_epoch == 1 + figures.index(min(figures))
    assert report.best_epoch != 1 + losses.index(min(losses)), (figures, losses)
    assert report.metrics["val"]["balanced_mae"] == pytest.approx(min(figures), rel=1e-6)
    assert report.metrics["val"]["balanced_mae"] == pytest.approx(report.details["val"]["balanced_mae"], rel=1e-9)
    assert set(report.baselines["test"]) == set(report.metrics["test"])
    assert checkpoint.load(run_dir.best).state.best_epoch == report.best_epoch
    assert report.config["training"]["monitor"] == "val_balanced_mae"
    text = run_dir.config.read_text()
    assert 'monitor = "val_balanced_mae"' in text
    assert "early_stopping_patience = 2\n" in text, "0.3 of six epochs, as the number of epochs that it is"
    if world.is_root:
        assert seen.facts["monitor"] == "val_balanced_mae; the epoch in which it is lowest is kept"
        ends = f"No better val_balanced_mae for 2 epochs: training ends; the best epoch was {report.best_epoch}."
        assert report.stopped_early == (ends in seen.texts)
        assert report.stopped_early == (report.epochs == report.best_epoch + 2)
    again = evaluate_run(run_dir, world, None, split="test")
    assert again["metrics"] == pytest.approx(report.metrics["test"], rel=1e-9)


@pytest.mark.slow
def test_a_resumed_run_keeps_it_and_refuses_another(
    world: World, finished: tuple[RunDir, Report, Seen], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, report, _ = finished
    run_dir = common_run_dir(world, tmp_path_factory)
    stopped(RARE, world, run_dir, 60)  # an epoch has 40 steps
    other = RARE.replace(training={"monitor": "val_loss"})
    with pytest.raises(CheckpointError, match=r"chosen by val_balanced_mae, and --monitor val_loss might choose"):
        train_and_evaluate(other, world, run_dir, resume=True)
    assert train_and_evaluate(RARE, world, run_dir, resume=True).best_epoch == report.best_epoch


def test_a_wrong_name_is_refused_alike_on_every_rank_before_training(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run_dir, config = common_run_dir(world, tmp_path_factory), RARE.replace(training={"monitor": "macro_f1"})
    with pytest.raises(ConfigError) as raised:
        train_and_evaluate(config, world, run_dir)
    assert len(set(world.allgather(str(raised.value)))) == 1
    assert "val_balanced_mae" in str(raised.value)
    assert not run_dir.config.exists()


def test_the_training_loss_may_choose_the_epoch(world: World, shared_dir: Path) -> None:
    skip_unless_shared(world, 60, "virtual shards")
    run_dir = RunDir(shared_dir / "run")
    config = RARE.replace(
        training={"monitor": "train_loss", "num_epochs": 4, "plateau_patience": 1}, optimizer={"schedule": "constant"}
    )
    report = train_and_evaluate(config, world, run_dir)
    losses = [row["loss"] for row in report.history]
    assert report.best_epoch == 1 + losses.index(min(losses))
    again = evaluate_run(run_dir, world, None, split="test")
    assert again["metrics"] == pytest.approx(report.metrics["test"], rel=1e-9)
    if world.is_root:
        summary = summary_of(run_dir.path)
        assert (summary.monitor, summary.best) == ("train_loss", pytest.approx(min(losses)))
