"""bfloat16: what is saved computes in float32, the curve stays near, and `auto` is decided once for all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hvd_train.config import RunConfig, recipes, toml
from hvd_train.data import Dataset, prepare
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError
from hvd_train.events import Observer
from hvd_train.inference.export import load_trained
from hvd_train.runs.directory import RunDir
from hvd_train.training.precision.choice import resolve_auto
from hvd_train.training.precision.float32_copy import in_float32
from hvd_train.training.precision.mixed_precision import computing_in
from hvd_train.training.run import train_and_evaluate
from hvd_train.training.user_code.saveable import check_saveable

CONFIG = recipes.DEBUG.replace(
    table={"num_songs": 2000}, split={"num_virtual_shards": 60}, training={"num_epochs": 1, "global_batch_size": 120}
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
    assert toml.load(run_dir.config).training.precision == "bfloat16"
    model = keras.models.load_model(run_dir.model, compile=False)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    rows = Dataset.open(prepare(CONFIG.table, CONFIG.split)).load("test", range(60))
    outputs = load_trained(run_dir).model(rows.features).numpy().astype(np.float64)
    losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(outputs)), rows.labels]
    assert losses.mean() == pytest.approx(figures["loss"], rel=1e-5)


def test_auto_is_resolved_alike_and_saved(world: World, tmp_path: Path) -> None:
    run_dir, _ = trained(world, tmp_path, "auto")
    saved = toml.load(run_dir.config).training.precision
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
    assert "no instructions for bfloat16" in why


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


class Twice(keras.layers.Layer):
    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"factor": self.factor}


class Forgets(Twice):
    """Reads back with another factor."""

    def get_config(self) -> dict[str, Any]:
        return keras.layers.Layer.get_config(self)


class CannotBeMade(keras.layers.Layer):
    def __init__(self, function: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


class Squared(keras.layers.Dense):
    """A Dense by its class and weights, and another network by its call."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return super().call(inputs, training=training) ** 2


def of_the_user(layer: Any) -> keras.Model:
    rows = keras.Input((4,))
    norm = keras.layers.Normalization()
    norm.adapt(np.arange(20, dtype=np.float32).reshape(5, 4))
    return keras.Model(rows, keras.layers.Dense(2)(layer(norm(rows))))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [lambda: Twice(3.0), lambda: Squared(3)], ids=["layer", "subclass of Dense"])
def test_a_users_layers_are_kept_in_what_is_saved(kind: Any, precision: str, tmp_path: Path) -> None:
    """The copy computes what the model does, in the user's classes; the file reads back to the same with them at hand."""
    with computing_in(precision):
        model = of_the_user(kind())
    told = check_saveable(model)
    assert told is not None
    assert type(model.layers[2]).__name__ in told
    copy = in_float32(model)
    assert type(copy.layers[2]) is type(model.layers[2])
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    np.testing.assert_allclose(
        copy(x), model(x), rtol=1e-5 if precision == "float32" else 0.1, atol=1e-5 if precision == "float32" else 0.2
    )
    copy.save(tmp_path / "model.keras")
    objects = {"Twice": Twice, "Squared": Squared}
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=objects, compile=False)
    np.testing.assert_array_equal(again(x), copy(x))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: Forgets(3.0), "predicts something else than the model itself"),
        (lambda: CannotBeMade(lambda x: x + 1), r"cannot be saved \(NotImplementedError"),
    ],
    ids=["forgets", "has no get_config"],
)
def test_a_model_that_cannot_be_saved_is_one_message_before_training(layer: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"{words}.*{type(layer()).__name__}.*get_config"):
        check_saveable(of_the_user(layer()))


def test_models_of_our_own_need_no_check_and_no_custom_objects() -> None:
    with computing_in("float32"):
        rows = keras.Input((4,))
        assert check_saveable(keras.Model(rows, keras.layers.Dense(2)(rows))) is None


def test_a_user_s_network_fails_at_the_start_or_trains_and_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if 60 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 60 virtual shards")
    from hvd_train import models

    linear = models.BODIES["linear"]
    for layer in (Forgets, Twice):
        monkeypatch.setitem(models.BODIES, "linear", lambda x, *a, layer=layer: layer(3.0)(linear(x, *a)))
        run_dir = RunDir(Path(world.broadcast(str(tmp_path / layer.__name__))))
        notes: list[str] = []
        observer = Observer()
        monkeypatch.setattr(observer, "on_message", notes.append)
        config = CONFIG.replace(model={"name": "linear"})
        if layer is Forgets:
            with pytest.raises(ConfigError, match="predicts something else"):
                train_and_evaluate(config, world, run_dir, callbacks=[observer])
            assert not run_dir.last.exists()
        else:
            train_and_evaluate(config, world, run_dir, callbacks=[observer])
            assert any("need your own layers" in note for note in notes) == world.is_root
            keras.models.load_model(run_dir.model, custom_objects={"Twice": Twice}, compile=False)
