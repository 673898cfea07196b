"""A whole run on the ranks that are there: what they see, what they end with, what they report."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from resuming import assert_same_end, common_run_dir, skip_unless_shared, stopped
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from hvd_train.config import RunConfig, recipes
from hvd_train.data import Dataset, EpochPlan, own_shards, prepare
from hvd_train.distributed.world import World
from hvd_train.errors import CheckpointError, UserError
from hvd_train.evaluation.evaluate import LabelledRows, metrics_of
from hvd_train.evaluation.metrics import MetricSet
from hvd_train.evaluation.output_spec import softmax
from hvd_train.inference.evaluate import evaluate_run
from hvd_train.inference.export import load_trained
from hvd_train.models.forward import forward_pass
from hvd_train.runs import RunDir, checkpoint, lock_run_dir
from hvd_train.runs.report import Report
from hvd_train.training.equal_weights import weights_digest
from hvd_train.training.run import train_and_evaluate

# 60 shards: as many numbers of ranks as possible divide it.
DEBUG = recipes.DEBUG.replace(
    table={"num_songs": 2000},
    split={"num_virtual_shards": 60},
    model={"conv_dropout": 0.25, "dense_dropout": 0.5},
    training={"num_epochs": 2, "global_batch_size": 120},
)


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, RunDir, Report]:
    skip_unless_shared(world, 60, "virtual shards")
    run_dir = common_run_dir(world, tmp_path_factory)
    return DEBUG, run_dir, train_and_evaluate(DEBUG, world, run_dir)


def test_every_rank_gets_the_same_report(world: World, finished: tuple[RunConfig, RunDir, Report]) -> None:
    _, run_dir, report = finished
    assert len({json.dumps(r) for r in world.allgather(report.metrics)}) == 1
    assert report.size == world.size
    assert sum(report.hosts.values()) == world.size
    written = json.loads(run_dir.report.read_text())
    assert written["metrics"] == report.metrics
    assert {"config", "versions", "hosts", "seed", "data_checksum", "git", "baselines", "samples_per_s"} <= set(written)
    for file in (
        run_dir.config,
        run_dir.metrics,
        run_dir.curve,
        run_dir.model,
        run_dir.last,
        run_dir.best,
        run_dir.done,
    ):
        assert file.stat().st_size > 0, file


def test_ranks_see_disjoint_rows_and_together_all_but_the_remainder(world: World) -> None:
    skip_unless_shared(world, 60, "virtual shards")
    dataset = Dataset.open(prepare(DEBUG.table, DEBUG.split))
    shards = own_shards(world.rank, world.size, dataset.num_virtual_shards)
    rows = dataset.load("train", shards)
    plan = EpochPlan(0, dataset.shard_sizes("train"), 2)
    order = plan.order(0, shards, rows.shard_starts)
    assert order.shape == (plan.num_steps, 120 // world.size)
    seen = np.concatenate(world.allgather(rows.row_ids[order.ravel()]))
    assert len(np.unique(seen)) == len(seen) == plan.num_steps * 120
    assert dataset.num_rows("train") - len(seen) < 120 + 60  # a batch that is not full, and uneven shards


def test_metrics_equal_scikit_learn_s_on_the_gathered_predictions(
    world: World, finished: tuple[RunConfig, RunDir, Report]
) -> None:
    _, run_dir, report = finished
    trained = load_trained(run_dir)
    dataset = Dataset.open(prepare(DEBUG.table, DEBUG.split))
    sizes = dataset.shard_sizes("test")
    assert len(set(sizes.tolist())) > 1, "the shards should not divide evenly here"
    rows = dataset.load("test", own_shards(world.rank, world.size, dataset.num_virtual_shards))
    infer = forward_pass(trained.model)
    probabilities = np.concatenate(world.allgather(softmax(infer(rows.features))))
    targets = np.concatenate(world.allgather(rows.labels))
    assert len(targets) == dataset.num_rows("test")
    years = np.arange(1922, 2012)
    truth, expected_year, likeliest = years[targets], probabilities @ years, probabilities.argmax(1)
    windows = np.stack([probabilities[:, max(0, k - 5) : k + 6].sum(axis=1) for k in range(90)], axis=1)
    assert report.metrics["test"] == pytest.approx(
        {
            "loss": log_loss(targets, probabilities, labels=range(90)),
            "accuracy": accuracy_score(targets, likeliest),
            "within_5": np.mean(np.abs(years[windows.argmax(1)] - truth) <= 5),
            "mae": mean_absolute_error(truth, years[(probabilities.cumsum(axis=1) >= 0.5).argmax(axis=1)]),
            "rmse": root_mean_squared_error(truth, expected_year),
        },
        rel=1e-5,
    )
    # The same call on the same model gives the same figures to the last bit on every rank.
    blocks = [LabelledRows.of_shards(rows, own_shards(world.rank, world.size, dataset.num_virtual_shards))]
    again = metrics_of(world, infer, MetricSet.of(trained.output_spec), blocks, num_groups=dataset.num_virtual_shards)
    assert len({json.dumps(a) for a in world.allgather(again)}) == 1


def test_class_metrics_equal_scikit_learn_s_from_a_split_and_from_a_table(world: World, shared_dir: Path) -> None:
    skip_unless_shared(world, 60, "virtual shards")
    table = shared_dir / "table.csv"

    def write() -> None:
        rng = np.random.default_rng(2)
        kinds = rng.choice(["rare", "common", "other"], 900, p=[0.05, 0.8, 0.15])
        heat = rng.normal([{"rare": 2.0, "common": 0.0, "other": -1.0}[kind] for kind in kinds])
        table.write_text("kind,heat\n" + "".join(f"{k},{h:.5f}\n" for k, h in zip(kinds, heat, strict=True)))

    world.together(write, on="root")
    config = DEBUG.replace(table={"path": table, "label": "kind"}, training={"num_epochs": 1})
    run_dir = RunDir(shared_dir / "run")
    report = train_and_evaluate(config, world, run_dir)
    trained = load_trained(run_dir)
    dataset = Dataset.open(prepare(config.table, config.split))
    rows = dataset.load("test", own_shards(world.rank, world.size, dataset.num_virtual_shards))
    probabilities = np.concatenate(world.allgather(softmax(forward_pass(trained.model)(rows.features))))
    targets = np.concatenate(world.allgather(rows.labels))
    found, details = report.metrics["test"], report.details["test"]
    assert details["confusion"] == confusion_matrix(targets, probabilities.argmax(1)).tolist()
    assert found["macro_f1"] == pytest.approx(f1_score(targets, probabilities.argmax(1), average="macro"))
    assert found["auc"] == pytest.approx(roc_auc_score(targets, probabilities, multi_class="ovr"))
    assert json.loads(run_dir.report.read_text())["details"]["test"]["classes"][0]["label"] == "common"
    whole = evaluate_run(run_dir, world, table, split="test", overrides={})
    assert whole["rows"] == np.sum(whole["details"]["confusion"]) == 900
    assert {"balanced_accuracy", "macro_f1", "auc"} <= set(whole["metrics"]) == set(whole["baselines"])
    assert len({json.dumps(one, sort_keys=True) for one in world.allgather(whole)}) == 1


def test_training_writes_no_generated_program_into_tmpdir(finished: tuple[RunConfig, RunDir, Report]) -> None:
    """AutoGraph does, and removes it at a good end alone: each killed rank left three."""
    assert [name for name in sys.modules if name.startswith("__autograph_generated_file")] == []


def test_a_run_that_is_there_or_alive_is_never_written_over(
    world: World, finished: tuple[RunConfig, RunDir, Report]
) -> None:
    """From Python too; the same message on every rank."""
    config, run_dir, _ = finished
    before = run_dir.report.read_bytes() if world.is_root else b""
    with pytest.raises(UserError, match="holds a run already. Go on with it: --resume") as raised:
        train_and_evaluate(config, world, run_dir)
    messages = world.allgather(str(raised.value))
    with lock_run_dir(run_dir, world, new=False):
        for resume in (False, True):
            with pytest.raises(UserError, match=r"is in use by process \d+ on ") as raised:
                train_and_evaluate(config, world, run_dir, resume=resume)
            messages += world.allgather(str(raised.value))
    assert len(set(messages)) == 2
    if world.is_root:
        assert run_dir.report.read_bytes() == before
        assert not (run_dir.path / ".lock").exists()


def test_all_ranks_hold_the_same_weights_bit_for_bit(world: World, tmp_path: Path) -> None:
    """Read independently of the program's own check: each rank trains into a model that this test looks at."""
    skip_unless_shared(world, 60, "virtual shards")
    kept: list[object] = []
    original = keras.Model.fit
    try:
        keras.Model.fit = lambda self, *a, **k: (kept.append(self), original(self, *a, **k))[1]
        run_dir = RunDir(Path(world.broadcast(str(tmp_path / "run"))))
        train_and_evaluate(DEBUG.replace(training={"num_epochs": 1}), world, run_dir)
    finally:
        keras.Model.fit = original
    digests = world.allgather(weights_digest(kept[0].weights))  # type: ignore[attr-defined]
    assert len(set(digests)) == 1


def test_an_interrupted_run_is_the_whole_one_bit_for_bit(
    world: World, shared_dir: Path, finished: tuple[RunConfig, RunDir, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout; once it goes on from the end of an epoch, and once from the middle of the next."""
    config, whole, _ = finished
    assert EpochPlan(0, Dataset.open(prepare(config.table, config.split)).shard_sizes("train"), 2).num_steps == 13
    assert any(name.endswith("seed_generator_state (2,)") for name in checkpoint.load(whole.last).names)
    config = config.replace(training={"checkpoint_every_steps": 4, "steps_per_execution": 1})
    written: list[str] = []
    write = checkpoint.write_arrays
    monkeypatch.setattr(checkpoint, "write_arrays", lambda path, a: (written.append(path.name), write(path, a)))
    run_dir = RunDir(shared_dir / "run")
    stopped(config, world, run_dir, 13 + 2, 13 + 9)
    # After steps 4, 8, 12 and the epoch. Killed between the last two, a run must not believe in a best epoch that it lacks.
    assert written[:5] == ([*["last.npz"] * 3, "best.npz", "last.npz"] if world.is_root else [])
    with pytest.raises(CheckpointError, match=r"middle of an epoch of 13 steps, and an epoch of this run has 26\."):
        train_and_evaluate(config.replace(training={"global_batch_size": 60}), world, run_dir, resume=True)
    train_and_evaluate(config, world, run_dir, resume=True)
    assert_same_end(run_dir, whole)


def test_checkpoints_of_different_moments_are_refused(
    world: World, shared_dir: Path, finished: tuple[RunConfig, RunDir, Report]
) -> None:
    """Copied while the run went on: the last one is of epoch 2, which was the best, and the best one of epoch 1."""
    config, whole, _ = finished
    run_dir = RunDir(shared_dir / "copied")

    def copy() -> None:
        run_dir.last.parent.mkdir(parents=True)
        shutil.copy(whole.last, run_dir.last)
        best = checkpoint.load(whole.best)
        assert best.state.best_epoch == 2
        variables = [keras.Variable(value, name="v") for value in best.variables]
        earlier = replace(best.state, best_epoch=1)
        checkpoint.save(run_dir.best, variables, earlier, config=best.config, data_checksum=best.data_checksum)

    world.together(copy, on="root")
    with pytest.raises(CheckpointError, match=r"best.npz is from epoch 1, but by last.npz the best epoch was 2"):
        train_and_evaluate(config, world, run_dir, resume=True)
