"""Rows are prepared once, before training: the same numbers as if the model did it in every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hvd_train.config import RunConfig, recipes
from hvd_train.data import own_shards
from hvd_train.distributed.world import World
from hvd_train.events import Observer, Watch
from hvd_train.runs.directory import RunDir
from hvd_train.training.experiment import Experiment
from hvd_train.training.run import train_and_evaluate
from hvd_train.training.setup import set_up

SMALL = {"num_epochs": 1, "global_batch_size": 120}
MODELS: dict[str, dict[str, Any]] = {
    "standard": {},
    "signed-log": {"transform": "signed-log"},
    "quantile": {"transform": "quantile"},
    "whitened": {"transform": "quantile", "whiten": True},
    "log-covariance": {"transform": "log-covariance", "whiten": True},
    "piecewise": {"transform": "quantile", "whiten": True, "arrangement": "piecewise", "piecewise_channels": 2},
    "by timbre": {"transform": "log-covariance", "arrangement": "covariance"},
}


def config_of(world: World, recipe: RunConfig = recipes.DEBUG, **changes: Any) -> RunConfig:
    if 12 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 12 virtual shards")
    return recipe.replace(table={"num_songs": 1200}, split={"num_virtual_shards": 12}, training=SMALL, **changes)


def parts_of(world: World, config: RunConfig) -> Experiment:
    keras.backend.clear_session()
    return set_up(config, world, Observer(), Watch())


@pytest.mark.parametrize("model", MODELS)
def test_prepared_rows_say_what_plain_ones_do(world: World, model: str) -> None:
    experiment = parts_of(world, config_of(world, model=MODELS[model]))
    plain = experiment.dataset.load("val", own_shards(world.rank, world.size, 12))
    prepared = experiment.prepared(plain)
    assert prepared.features.shape != plain.features.shape or not np.array_equal(prepared.features, plain.features)
    assert np.array_equal(prepared.labels, plain.labels)
    said = experiment.infer(experiment.trained)(prepared.features)
    assert said == pytest.approx(experiment.infer(experiment.model)(plain.features), abs=1e-5)
    assert {id(v) for v in experiment.trained.trainable_variables} == {
        id(v) for v in experiment.model.trainable_variables
    }
    assert [v.path for v in experiment.trained.trainable_variables] == [
        v.path for v in experiment.model.trainable_variables
    ]


def test_a_step_holds_nothing_of_the_preparation(world: World) -> None:
    """The logarithm of the covariance took two thirds of a step of `synthetic-songs`."""
    experiment = parts_of(world, config_of(world, recipes.SYNTHETIC_SONGS))
    whole = {layer.name for layer in experiment.model.layers}
    trained = {layer.name for layer in experiment.trained.layers}
    assert {"to_unit", "whiten", "normalise"} <= whole - trained
    assert not [name for name in trained if "eigh" in name]


@pytest.mark.parametrize("augmented", [{"noise": 0.1}, {"feature_dropout": 0.1}, {"mixup_alpha": 0.2}])
def test_rows_that_are_drawn_anew_are_prepared_anew(world: World, augmented: dict[str, float]) -> None:
    experiment = parts_of(world, config_of(world, sampling=augmented))
    rows = experiment.dataset.load("val", range(1))
    assert experiment.trained is experiment.model
    assert experiment.prepared(rows) is rows


def test_the_saved_model_takes_plain_rows(world: World, shared_dir: Path) -> None:
    keras.backend.clear_session()
    config = config_of(world, recipes.SYNTHETIC_SONGS, objective={"calibrate": False})
    run_dir = RunDir(shared_dir / "run")
    report = train_and_evaluate(config, world, run_dir)
    model = keras.models.load_model(run_dir.model)
    assert model.input_shape == (None, 90)
    # By the last row of training, which scored prepared rows; the report scored the saved model on plain ones.
    (row,) = run_dir.metrics.read_text().splitlines()[1:]
    names = run_dir.metrics.read_text().splitlines()[0].split(",")
    assert float(row.split(",")[names.index("val_loss")]) == pytest.approx(report.metrics["val"]["loss"], rel=1e-4)
