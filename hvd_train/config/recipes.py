"""Named complete RunConfigs. One derives from another by `replace`; `--recipe NAME` starts from one."""

from __future__ import annotations

from hvd_train.config.run import RunConfig
from hvd_train.errors import ConfigError

DEFAULT = RunConfig()

DEBUG = DEFAULT.replace(
    table={"num_songs": 4000},
    model={"filters": (8, 8), "dense_units": (32,), "conv_dropout": 0.0, "dense_dropout": 0.0},
    training={"num_epochs": 3, "check_equal_weights": True},
)

# The net and the batch on each rank that every measurement of speed is about (docs/reference/performance-log.md).
REFERENCE = DEFAULT.replace(
    model={"filters": (32, 32), "dense_units": (128,), "conv_dropout": 0.0, "dense_dropout": 0.0},
    training={"local_batch_size": 256},
)

# 792 leaves, 99 species, three vectors of 64 numbers each: eight leaves of a species, so few are held out to choose by.
LEAVES = DEFAULT.replace(
    table={"label": "species", "drop": ("id",), "layout": "64x3"},
    split={"val_fraction": 0.05},
    model={
        "filters": (64,),
        "conv_dropout": 0.3,
        "dense_units": (512,),
        "dense_dropout": 0.5,
        "transform": "quantile",
    },
    training={"num_epochs": 60, "early_stopping_patience": 0},
)

# The earlier project's own net for leaves: a dropout of 0.4 between the convolution and the dense layers, none after.
SEED_LEAVES = LEAVES.replace(
    model={
        "filters": (512,),
        "kernel_size": 1,
        "conv_dropout": 0.4,
        "dense_units": (2048, 1024),
        "dense_dropout": 0.0,
        "transform": "standard",
    },
    # 69 million weights, which know the few rows by heart soon.
    training={"num_epochs": 20, "early_stopping_patience": 5},
)

# Songs of YearPredictionMSD. Eight directions of the columns first, then what follows from them: a few hundred songs of
# one artist are no independent rows, and a net that is free in all 91 directions learns the artists. What each choice is
# worth: docs/reference/results.md.
SONGS = DEFAULT.replace(
    model={
        "name": "mlp",
        "dense_units": (8, 256),
        "dense_dropout": 0.0,
        "activation": "silu",
        "transform": "log-covariance",
        "whiten": True,
    },
    optimizer={"base_learning_rate": 1.5e-3},
    training={
        "global_batch_size": 1024,
        "num_epochs": 14,
        "early_stopping_patience": 0,
        "averaging": "ema",
        "ema_momentum": 0.999,
    },
)
# The same with convolutions along the timbres.
SONGS_CNN = SONGS.replace(
    model={
        "name": "residual_cnn",
        "whiten": False,
        "arrangement": "covariance",
        "filters": (32, 64),
        "conv_dropout": 0.1,
        "normalisation": "layer",
        "dense_units": (128,),
        "dense_dropout": 0.1,
    },
    training={"num_epochs": 8},
)

# A few thousand rows: the label's neighbours share what each row says, and noise keeps the net from knowing it by heart.
FEW_SONGS = DEFAULT.replace(
    split={"val_fraction": 0.05},
    model={
        "name": "mlp",
        "dense_units": (512, 512),
        "dense_dropout": 0.5,
        "input_dropout": 0.1,
        "activation": "silu",
        "transform": "quantile",
    },
    objective={"targets": "gaussian", "target_sigma": 3.0},
    training={"num_epochs": 40, "early_stopping_patience": 0, "averaging": "ema", "ema_momentum": 0.99},
)

# name: (what it is for, the config)
RECIPES: dict[str, tuple[str, RunConfig]] = {
    "default": ("the seed CNN on whatever table is given, or on the embedded synthetic songs", DEFAULT),
    "debug": ("a tiny network for seconds, without dropout, with every check on", DEBUG),
    "reference": ("the net that speeds are measured on, 256 rows on each rank", REFERENCE),
    "leaves": ("leaf species from three vectors of 64 numbers (columns id, species, then 192)", LEAVES),
    "songs": ("YearPredictionMSD, or as many synthetic songs: --num-songs 515345", SONGS),
    "songs-cnn": ("the same with convolutions along the twelve timbres", SONGS_CNN),
    "few-songs": ("a few thousand songs, or any table whose label is a year", FEW_SONGS),
    "seed-leaves": ("leaves by the earlier project's net, exactly", SEED_LEAVES),
}


def recipe(name: str) -> RunConfig:
    """The RunConfig called `name`, or ConfigError."""
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}. The recipes are: {', '.join(RECIPES)}.")
    return RECIPES[name][1]
