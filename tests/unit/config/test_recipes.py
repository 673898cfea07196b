"""What the recipes for songs are: one published for the real table, the others cut to the synthetic one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from hvd_train.config import RunConfig, recipes
from hvd_train.errors import ConfigError

# Of 0-evaluation/0.toml in paper/exp/tabm-sharetrainingbatches-piecewiselinear/why/regression-num-large-0-year
# (github.com/yandex-research/tabm, commit 28e47ae3): n_blocks 4, d_block 432, k 32, and these.
PUBLISHED = {
    "training.global_batch_size": 512,
    "training.early_stopping_patience": 16,
    "optimizer.clip_norm": 1.0,
    "optimizer.base_learning_rate": 0.0036098590272719984,
    "optimizer.weight_decay": 0.00026846624126054195,
    "model.dense_dropout": 0.4248684356906958,
    "model.piecewise_channels": 8,
    "model.piecewise_bins": 2,
}


def changes(config: RunConfig) -> dict[str, Any]:
    """What differs from the defaults, by "section.field"."""
    sections = {section.name: (getattr(config, section.name), getattr(RunConfig(), section.name)) for section in dataclasses.fields(config)}  # fmt: skip
    return {
        f"{name}.{field.name}": getattr(own, field.name)
        for name, (own, default) in sections.items()
        for field in dataclasses.fields(own)
        if getattr(own, field.name) != getattr(default, field.name)
    }


def test_songs_has_the_published_settings_and_nothing_of_the_generator() -> None:
    config = recipes.recipe("songs")
    assert (config.model.dense_units, config.model.parallel_members) == ((432,) * 4, 32)
    ours = changes(config)
    assert {name: ours[name] for name in PUBLISHED} == pytest.approx(PUBLISHED, rel=2e-4)
    # All else that it sets: the kind of network, loss, optimizer and schedule of that publication. So no logarithm of the
    # covariances, no whitening and no average of weights, which suit the generator of the synthetic songs.
    assert {name: value for name, value in ours.items() if name not in PUBLISHED} == {
        "model.name": "tabm",
        "model.dense_units": (432,) * 4,
        "model.transform": "quantile",
        "model.arrangement": "piecewise",
        "objective.loss": "mse",
        "optimizer.optimizer": "adamw",
        "optimizer.rate_scaling": "none",
        "optimizer.warmup_epochs": 0.0,
        "optimizer.schedule": "constant",
        "training.num_epochs": 400,
        "training.monitor": "val_rmse",
    }


def test_the_networks_of_the_synthetic_songs_are_called_so_and_stay_as_they_were() -> None:
    of_both = {
        "model.transform": "log-covariance",
        "model.activation": "silu",
        "optimizer.base_learning_rate": 1.5e-3,
        "training.global_batch_size": 1024,
        "training.early_stopping_patience": 0,
        "training.averaging": "ema",
    }
    dense = {"model.name": "mlp", "model.dense_units": (8, 256), "model.dense_dropout": 0.0, "model.whiten": True}
    convolutions = {
        "model.name": "residual_cnn",
        "model.arrangement": "covariance",
        "model.filters": (32, 64),
        "model.conv_dropout": 0.1,
        "model.normalisation": "layer",
        "model.dense_dropout": 0.1,
    }
    assert changes(recipes.recipe("synthetic-songs")) == of_both | dense | {"training.num_epochs": 14}
    assert changes(recipes.recipe("synthetic-songs-cnn")) == of_both | convolutions | {"training.num_epochs": 8}
    with pytest.raises(ConfigError, match="no recipe 'songs-cnn'.*synthetic-songs-cnn"):
        recipes.recipe("songs-cnn")
