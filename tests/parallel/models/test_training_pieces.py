"""Optimizers, decay, averaged weights, ensembles: alike on all ranks, and what their papers say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hvd_train.config import OptimizerConfig, RunConfig, TrainingConfig, recipes
from hvd_train.distributed.world import World
from hvd_train.errors import CheckpointError
from hvd_train.evaluation.output_spec import softmax
from hvd_train.events import Watch
from hvd_train.inference.export import load_trained
from hvd_train.optimizers.factory import make_optimizer, make_schedule
from hvd_train.optimizers.lars import LARS, TRUST_COEFFICIENT
from hvd_train.runs.directory import RunDir
from hvd_train.training.ensemble import join_runs, train_members
from hvd_train.training.run import train_and_evaluate
from hvd_train.training.weight_averaging import WeightAverage

SMALL = recipes.DEBUG.replace(
    table={"num_songs": 1200},
    split={"num_virtual_shards": 12},
    training={"num_epochs": 2, "global_batch_size": 120, "check_equal_weights": True},
)
PIECES: dict[str, dict[str, Any]] = {
    "adamw, clipped, with decay": {"optimizer": {"optimizer": "adamw", "weight_decay": 0.01, "clip_norm": 0.5}},
    "sgd in steps": {"optimizer": {"optimizer": "sgd", "schedule": "step", "rate_scaling": "linear"}},
    "lamb": {"optimizer": {"optimizer": "lamb", "weight_decay": 0.01}},
    "lars": {"optimizer": {"optimizer": "lars", "weight_decay": 0.01, "base_learning_rate": 1.0}},
    "ema": {"training": {"averaging": "ema", "ema_momentum": 0.9}},
    "swa": {"training": {"averaging": "swa", "swa_from": 0.0}},
    "coral, plateau": {"objective": {"loss": "coral"}, "training": {"plateau_patience": 1}},
    "corn, smoothed": {"objective": {"loss": "corn", "label_smoothing": 0.1}},
    "gaussian": {"objective": {"loss": "gaussian"}},
    "huber, weighted": {"objective": {"loss": "huber"}, "sampling": {"balance": "sqrt-inverse"}},
    "focal on soft labels": {"objective": {"loss": "focal", "targets": "gaussian"}},
}


class StopAfter(Watch):
    """Raises on every rank alike once so many steps are done."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def progress(self, step: int) -> None:
        if step >= self._steps:
            raise InterruptedError


def small(world: World, changes: dict[str, Any] | None = None) -> RunConfig:
    if 12 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 12 virtual shards")
    return SMALL.replace(**(changes or {}))


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_acts_alike_on_all_ranks(world: World, shared_dir: Path, piece: str) -> None:
    """Training itself compares the weights bit for bit after each epoch; here the ranks' reports are."""
    keras.backend.clear_session()
    report = train_and_evaluate(small(world, PIECES[piece]), world, RunDir(shared_dir / "run"))
    assert len({str(r) for r in world.allgather(report.metrics)}) == 1
    assert np.isfinite(report.metrics["test"]["loss"])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_fused_adam_is_keras_s_adam(name: str) -> None:
    decay = 0.01 if name == "adamw" else 0.0
    config = OptimizerConfig(optimizer=name, weight_decay=decay, warmup_epochs=0)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype(np.float32) for shape in ((4, 3), (3,))]
    gradients = [[random.normal(size=v.shape).astype(np.float32) for v in start] for _ in range(20)]
    ours = make_optimizer(config, make_schedule(config, global_batch_size=256, steps_per_epoch=20, num_epochs=1))
    theirs = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[name](
        make_schedule(config, global_batch_size=256, steps_per_epoch=20, num_epochs=1),
        weight_decay=decay or None,
    )
    found = []
    for optimizer in (ours, theirs):
        variables = [keras.Variable(v, name=f"v{i}") for i, v in enumerate(start)]
        for step in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], variables)
        found.append([np.asarray(v) for v in [*variables, *optimizer.variables]])
    assert [v.shape for v in found[0]] == [v.shape for v in found[1]]
    for own, other in zip(*found, strict=True):
        assert own == pytest.approx(other, rel=1e-5, abs=1e-6)
    assert found[0][0] != pytest.approx(start[0], abs=1e-3)


def test_no_update_of_the_fused_adam_begins_before_the_last_gradient_is_there() -> None:
    """Otherwise TensorFlow copies a weight that the gradient of its layer's inputs still reads, before it updates it."""
    layers = keras.layers
    model = keras.Sequential([layers.Input((8,)), layers.Dense(6), layers.Dense(4), layers.Dense(2)])
    config = OptimizerConfig(optimizer="adam", warmup_epochs=0)
    optimizer = make_optimizer(config, make_schedule(config, global_batch_size=4, steps_per_epoch=20, num_epochs=1))
    optimizer.build(model.trainable_variables)
    names: set[str] = set()

    @tf.function  # type: ignore[untyped-decorator]
    def step(rows: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(rows))
        gradients = tape.gradient(loss, model.trainable_variables)
        names.update(gradient.op.name for gradient in gradients)
        optimizer.apply(gradients, model.trainable_variables)

    graph = step.get_concrete_function(tf.zeros((4, 8))).graph
    updates = [op for op in graph.get_operations() if op.type == "ResourceApplyAdam"]
    assert len(updates) == len(model.trainable_variables)
    # All gradients come in one IdentityN of Keras's, which TensorFlow takes out: by its own gradient an update waits for
    # no other, whatever this graph says.
    for update in updates:
        *others, own = (tensor.op for tensor in update.inputs)
        assert names <= before([*update.control_inputs, *others]), own.name


def before(operations: Any) -> set[str]:
    """The names of `operations` and of all that they wait for in their graph."""
    found, pending = set(), list(operations)
    while pending:
        one = pending.pop()
        if one.name not in found:
            found.add(one.name)
            pending += [*one.control_inputs, *(tensor.op for tensor in one.inputs)]
    return found


def test_decay_pulls_kernels_alone() -> None:
    config = OptimizerConfig(optimizer="adamw", weight_decay=0.5, base_learning_rate=0.1, warmup_epochs=0, schedule="constant")  # fmt: skip
    schedule = make_schedule(config, global_batch_size=256, steps_per_epoch=10, num_epochs=1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.LayerNormalization()])
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    optimizer = make_optimizer(config, schedule)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    values = {v.name: float(keras.ops.max(v)) for v in model.trainable_variables}
    assert values == pytest.approx({"kernel": 1 - 0.1 * 0.5, "bias": 1.0, "gamma": 1.0, "beta": 1.0})


def test_lars_scales_a_layer_s_gradient_to_its_norm() -> None:
    optimizer = LARS(0.5, momentum=0.0)
    kernel, bias = keras.Variable(np.full((2, 2), 3.0), dtype="float32"), keras.Variable(np.ones(2), dtype="float32")
    gradients = [np.array([[1.0, 2.0], [2.0, 4.0]]), np.ones(2)]
    optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], [kernel, bias])
    step = 0.5 * TRUST_COEFFICIENT * 6.0 / 5.0 * gradients[0]
    assert np.asarray(kernel) == pytest.approx(3.0 - step, rel=1e-6)
    assert np.asarray(bias) == pytest.approx(0.5)


def test_swa_is_the_mean_of_the_epochs_weights_and_gives_the_own_ones_back() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    training = TrainingConfig(averaging="swa", swa_from=0.5, num_epochs=4)
    average = WeightAverage.of(training, model)
    assert average is not None
    for epoch, weight in enumerate((1.0, 2.0, 3.0, 6.0)):
        model.set_weights([np.array([[weight]])])
        average.epoch_ended(epoch)
        with average.in_place():
            assert float(model.get_weights()[0][0, 0]) == pytest.approx([1.0, 2.0, 3.0, 4.5][epoch])
        assert float(model.get_weights()[0][0, 0]) == weight


@pytest.mark.parametrize("averaging", ["ema", pytest.param("swa", marks=pytest.mark.slow)])
def test_a_run_with_averaged_weights_resumes_as_the_same_experiment(
    world: World, shared_dir: Path, averaging: str
) -> None:
    config = small(world, {"training": {"averaging": averaging, "num_epochs": 3, "swa_from": 0.3}})
    whole = train_and_evaluate(config, world, RunDir(shared_dir / "whole"))
    stopped = RunDir(shared_dir / "stopped")
    with pytest.raises(InterruptedError):
        train_and_evaluate(config, world, stopped, watch=StopAfter(2 * 8 + 4))
    resumed = train_and_evaluate(config, world, stopped, resume=True)
    for a, b in zip(resumed.history, whole.history, strict=True):
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-5)


@pytest.mark.slow
def test_an_ensemble_is_the_mean_of_its_members(world: World, shared_dir: Path) -> None:
    members = train_members(small(world), world, RunDir(shared_dir / "three"), 3)
    finished = [member.done.stat().st_mtime_ns for member in members] if world.is_root else []
    result = join_runs(members, world, RunDir(shared_dir / "three"))
    rows = np.random.default_rng(0).normal(size=(6, 90)).astype(np.float32)
    apart = [softmax(np.asarray(load_trained(member).model(rows))) for member in members]
    assert not np.allclose(apart[0], apart[1], atol=1e-3)
    together = softmax(np.asarray(load_trained(RunDir(shared_dir / "three")).model(rows)))
    assert together == pytest.approx(np.mean(apart, axis=0), abs=1e-5)
    assert result["rows"] > 100
    assert len({str(r) for r in world.allgather(result["metrics"])}) == 1
    report = json.loads(RunDir(shared_dir / "three").report.read_text())
    assert report["train_seconds"] > 0 < report["join_seconds"]
    assert len(report["member_seconds"]) == 3
    assert [one["rank"] for one in report["ranks"]] == list(range(world.size))
    assert all(one["peak_memory_bytes"] > 0 for one in report["ranks"])
    if world.is_root:
        page = RunDir(shared_dir / "three").page.read_text()
        assert "seed-2" in page
        assert f"{result['rows']:,} rows" in page
    # Called again, it trains nothing that is there.
    train_members(small(world), world, RunDir(shared_dir / "three"), 3)
    assert finished == ([member.done.stat().st_mtime_ns for member in members] if world.is_root else [])


@pytest.mark.slow  # two runs for one refusal
def test_runs_of_another_kind_are_not_joined(world: World, shared_dir: Path) -> None:
    runs = [RunDir(shared_dir / "years"), RunDir(shared_dir / "value")]
    train_and_evaluate(small(world), world, runs[0])
    train_and_evaluate(small(world, {"objective": {"loss": "mse"}}), world, runs[1])
    with pytest.raises(CheckpointError, match="cannot be averaged"):
        join_runs(runs, world, RunDir(shared_dir / "joined"))


@pytest.mark.parametrize(
    ("loss", "exponents"),
    [
        ("mse", (-62, 103)),
        *(
            pytest.param(loss, (exponent,), marks=pytest.mark.slow)
            for loss, exponent in (("gaussian", 103), ("huber", -62))
        ),
    ],
)
def test_labels_in_any_unit_train_alike(world: World, shared_dir: Path, loss: str, exponents: tuple[int, ...]) -> None:
    """5e-19 joules or 1e31 kilograms are 5 in another unit: the same steps, and figures of that unit."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    y = 5 + x[:, 0] + 0.1 * rng.normal(size=600)
    found = []
    for exponent in (0, *exponents):
        keras.backend.clear_session()
        path, unit = shared_dir / f"{exponent}.csv", 2.0**exponent
        if world.is_root:
            np.savetxt(path, np.column_stack([y * unit, x]), delimiter=",", fmt="%.17g")
        table = {"path": path, "label_kind": "values", "cache_dir": shared_dir / "cache"}
        config = small(world, {"table": table, "objective": {"loss": loss}, "training": {"num_epochs": 2}})
        world.together(lambda: None)
        run_dir = RunDir(shared_dir / f"run{exponent}")
        report = train_and_evaluate(config, world, run_dir)
        said = np.asarray(keras.models.load_model(run_dir.model)(x[:50].astype(np.float32)))
        found.append((report, said / unit, unit))
    (plain, expected, _), *others = found
    for report, said, unit in others:
        assert np.array_equal(said, expected)
        assert report.metrics["test"]["mae"] == pytest.approx(plain.metrics["test"]["mae"] * unit, rel=1e-9)
        assert report.baselines["test"]["rmse"] == pytest.approx(plain.baselines["test"]["rmse"] * unit, rel=1e-9)
        for row, other in zip(report.history, plain.history, strict=True):
            for name in ("loss", "val_loss"):
                in_unit = other[name] + math.log(unit) if loss == "gaussian" else other[name] * unit**2
                assert row[name] == pytest.approx(in_unit, rel=1e-6)
        assert report.best_epoch == plain.best_epoch


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_the_schedule_in_the_graph_is_the_arithmetic(world: World, schedule: str) -> None:
    from hvd_train.optimizers.factory import WarmupSchedule
    from hvd_train.optimizers.learning_rate import RateCurve

    shape = {"warmup_steps": 7, "total_steps": 60, "schedule": schedule, "falls_at": (20, 59), "step_factor": 0.3}
    curve = RateCurve(0.02, **shape)
    in_graph = WarmupSchedule(curve)
    for step in (0, 3, 6, 7, 30, 59, 60, 100):
        assert float(in_graph(step)) == pytest.approx(curve.at(step), rel=1e-5)
    in_graph.factor.assign(0.5)
    assert float(in_graph(30)) == pytest.approx(0.5 * curve.at(30), rel=1e-5)
