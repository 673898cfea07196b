"""The published networks for series: their size, no effect of padding, any number of ranks, and files of plain Keras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from series_files import some_series, ts_text

from hvd_train import models
from hvd_train.config import ModelConfig, recipes
from hvd_train.distributed import SoloWorld, World
from hvd_train.inference.export import load_trained
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.models.series.networks import SERIES_BODIES, lite_filters
from hvd_train.runs.directory import RunDir
from hvd_train.training.precision.float32_copy import in_float32
from hvd_train.training.run import train_and_evaluate

NAN = np.float32("nan")
HEAD = HeadSpec("softmax", np.log(np.array([0.2, 0.5, 0.3])))


def built(name: str, positions: int, channels: int = 1, **changes: Any) -> Any:
    keras.backend.clear_session()
    F = positions * channels
    spec = InputSpec(np.zeros(F), np.ones(F), (positions, channels))
    return models.build(ModelConfig(**{"name": name, "transform": "series", **changes}), spec, HEAD, seed=3)


def some_rows(channels: int, length: int, positions: int, num_rows: int = 5) -> np.ndarray:
    """(N, C * L) series of this length, padded to so many positions."""
    x_NCL = np.full((num_rows, channels, positions), NAN)
    x_NCL[:, :, :length] = np.random.default_rng(0).normal(5, 3, (num_rows, channels, length)).cumsum(2)
    x_NCL[::2] *= -1  # some end below their mean, some above
    return x_NCL.reshape(num_rows, -1)


# Table 1 of the paper of LITE (arXiv 2409.02869), for one channel and without the last layer.
@pytest.mark.parametrize(
    ("name", "weights"), [("fcn", 264_704), ("resnet1d", 504_000), ("inception", 420_192), ("lite", 9_814)]
)
def test_the_number_of_weights_is_the_published_one(name: str, weights: int) -> None:
    model = built(name, 30)
    head = sum(int(np.prod(variable.shape)) for variable in model.get_layer("logits").trainable_variables)
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) - head == weights


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SERIES_BODIES)
def test_padding_changes_no_output(name: str, channels: int) -> None:
    """The same weights on series of 26 positions, in rows of 26 and of 61. In training the statistics are those of the batch."""
    short, long = built(name, 26, channels), built(name, 61, channels)
    rng = np.random.default_rng(1)
    for variable in short.weights:
        if "fixed" not in variable.path:
            drawn = rng.normal(0.0, 0.3, variable.shape)
            variable.assign(np.abs(drawn) if "variance" in variable.path else drawn)
    long.set_weights(short.get_weights())
    for training in (False, True):
        found = np.asarray(long(some_rows(channels, 26, 61), training=training))
        expected = np.asarray(short(some_rows(channels, 26, 26), training=training))
        assert np.ptp(expected, axis=0).min() > 1e-3  # the outputs tell series apart
        assert found == pytest.approx(expected, abs=2e-5 * max(1.0, float(np.abs(expected).max())))
    # What stands beyond the end does not matter even where a channel ends before the others.
    assert np.isfinite(np.asarray(long(np.full((2, channels * 61), NAN)))).all()


@pytest.mark.parametrize("name", SERIES_BODIES)
def test_without_a_mask_a_network_sees_whole_rows(name: str) -> None:
    masked, plain = built(name, 30), built(name, 30, transform="standard")
    values = {variable.path: variable for variable in masked.weights}
    for variable in plain.weights:
        if variable.path in values:
            variable.assign(values[variable.path])
    rows = some_rows(1, 30, 30)
    rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    assert np.asarray(plain(rows)) == pytest.approx(np.asarray(masked(rows)), rel=1e-4, abs=1e-4)


def test_the_fixed_filters_of_lite() -> None:
    filters = lite_filters()
    assert [len(taps) for taps in filters] == [2, 4, 8, 16, 32, 64, 2, 4, 8, 16, 32, 64, 6, 12, 24, 48, 96]
    assert (filters[0].tolist(), filters[6].tolist()) == ([-1, 1], [1, -1])
    assert filters[12].tolist() == [-1, -1, 2, 2, -1, -1]
    assert [round(float(taps.sum()), 6) for taps in filters] == [0.0] * 17


@pytest.mark.parametrize("name", SERIES_BODIES)
def test_a_saved_network_is_plain_keras_and_outputs_the_same(name: str, tmp_path: Path) -> None:
    model = built(name, 30, 2)
    rows = some_rows(2, 21, 30)
    copy = in_float32(model)
    assert all(type(layer).__module__.startswith("keras.") for layer in copy.layers)
    copy.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert np.asarray(loaded(rows)) == pytest.approx(np.asarray(model(rows)), rel=1e-4, abs=1e-5)


def table_of(num_series: int, world: World, folder: Path) -> dict[str, Path]:
    """The settings of a table of so many series of two channels. All ranks; the root writes it."""
    path = folder / f"{num_series}.ts"
    if world.is_root:
        path.write_text(ts_text(*some_series(num_series, 2, (12, 20))))
    world.allgather(0)
    return {"path": path, "cache_dir": folder / "cache"}


# The layers of resnet1d are those of fcn.
@pytest.mark.parametrize(
    "name", ["fcn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("inception", "lite"))]
)
def test_the_number_of_ranks_changes_nothing(name: str, world: World, shared_dir: Path, tmp_path: Path) -> None:
    if 8 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 8 virtual shards")
    config = recipes.recipe("series").replace(
        table=table_of(96, world, shared_dir),
        split={"num_virtual_shards": 8, "val_fraction": 0.2},
        model={"name": name},
        training={"num_epochs": 1, "min_steps": 2, "global_batch_size": 64, "check_equal_weights": True},
    )
    alone = SoloWorld(replace(world.placement, rank=0, size=1, local_rank=0, local_size=1), world.settings)
    histories = []
    for ranks, run_dir in ((world, shared_dir / f"{name}-together"), (alone, tmp_path / "alone")):
        keras.backend.clear_session()
        report = train_and_evaluate(config, ranks, RunDir(run_dir))
        histories.append([(row["loss"], row["val_loss"]) for row in report.history])
        world.allgather(0)
    assert len(histories[0]) == 2  # of one step each
    assert histories[0] == [pytest.approx(row, rel=2e-4) for row in histories[1]]
    if world.is_root:
        loaded = load_trained(RunDir(shared_dir / f"{name}-together")).model
        assert np.isfinite(np.asarray(loaded(np.zeros((2, *loaded.input_shape[1:]), np.float32)))).all()


def test_under_local_steps_all_ranks_end_with_one_normalisation(world: World, shared_dir: Path) -> None:
    """Each worker has statistics of its own rows, and an epoch ends with their mean on every rank."""
    if 4 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 4 virtual workers")
    config = recipes.recipe("series").replace(
        table=table_of(48, world, shared_dir),
        split={"num_virtual_shards": 4, "val_fraction": 0.2},
        distributed={"local_steps": 2},
        training={"num_epochs": 1, "min_steps": 2, "global_batch_size": 16, "check_equal_weights": True},
    )
    train_and_evaluate(config, world, RunDir(shared_dir / "local"))
    world.allgather(0)
