"""bfloat16: what is saved computes in float32, the curve stays near, and `auto` is decided once for all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from hvd_train import config_io, recipes
from hvd_train.config import RunConfig
from hvd_train.data import Dataset, prepare
from hvd_train.export import load_trained
from hvd_train.precision import computing_in, in_float32, resolve_auto
from hvd_train.rundir import RunDir
from hvd_train.train import train_and_evaluate
from hvd_train.world import World

CONFIG = recipes.DEBUG.replace(
    data={"num_songs": 2000, "num_virtual_shards": 60}, training={"num_epochs": 1, "global_batch_size": 120}
)


def trained(world: World, folder: Path, precision: str) -> tuple[RunDir, dict[str, float]]:
    if 60 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 60 virtual shards")
    run_dir = RunDir(Path(world.broadcast(str(folder / precision))))
    report = train_and_evaluate(CONFIG.replace(training={"precision": precision}), world, run_dir)
    return run_dir, report.metrics["test"]


def test_a_model_trained_in_bfloat16_is_saved_in_float32_with_its_figures(world: World, tmp_path: Path) -> None:
    run_dir, figures = trained(world, tmp_path, "bfloat16")
    _, exact = trained(world, tmp_path, "float32")
    assert figures["loss"] == pytest.approx(exact["loss"], rel=0.01)
    assert figures != exact, "nothing was computed in bfloat16"
    assert config_io.load(run_dir.config).training.precision == "bfloat16"
    model = keras.models.load_model(run_dir.model, compile=False)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    rows = Dataset.open(prepare(CONFIG.data)).load("test", range(60))
    outputs = load_trained(run_dir).model(rows.features).numpy().astype(np.float64)
    losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(outputs)), rows.labels]
    assert losses.mean() == pytest.approx(figures["loss"], rel=1e-5)


def test_auto_is_resolved_alike_and_saved(world: World, tmp_path: Path) -> None:
    run_dir, _ = trained(world, tmp_path, "auto")
    saved = config_io.load(run_dir.config).training.precision
    assert saved in ("float32", "bfloat16")
    assert len(set(world.allgather(saved))) == 1


@pytest.mark.parametrize(("slow", "expected"), [("float32", "bfloat16"), ("bfloat16", "float32"), ("", "float32")])
def test_auto_takes_bfloat16_only_where_it_is_faster(slow: str, expected: str) -> None:
    def train_step(config: RunConfig) -> Callable[[], None]:
        return lambda: time.sleep(0.003 if config.training.precision == slow or not slow else 0.0)

    decided, why = resolve_auto(CONFIG, True, train_step)
    assert decided.training.precision == expected
    assert "times as fast" in why


def test_auto_without_the_hardware_tries_nothing() -> None:
    def never(_: RunConfig) -> Callable[[], None]:
        raise AssertionError

    decided, why = resolve_auto(CONFIG, False, never)
    assert decided.training.precision == "float32"
    assert "does not multiply in bfloat16" in why


def test_the_copy_in_float32_predicts_the_same_to_rounding() -> None:
    with computing_in("bfloat16"):
        rows = keras.Input((6,))
        model = keras.Model(
            rows, keras.layers.Dense(3, dtype="float32")(keras.layers.Dense(8, activation="relu")(rows))
        )
    assert keras.config.dtype_policy().name == "float32"
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    there, copy = model(x).numpy(), in_float32(model)(x).numpy()
    assert np.any(there != copy)
    np.testing.assert_allclose(there, copy, atol=0.05)
