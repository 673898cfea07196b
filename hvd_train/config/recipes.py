"""Named complete RunConfigs. `--recipe NAME` starts from one. Some derive from another by `replace`."""

from __future__ import annotations

from hvd_train.config.run import RunConfig
from hvd_train.errors import ConfigError

DEFAULT = RunConfig()

DEBUG = DEFAULT.replace(
    table={"num_songs": 4000},
    model={"filters": (8, 8), "dense_units": (32,), "conv_dropout": 0.0, "dense_dropout": 0.0},
    training={"num_epochs": 3, "check_equal_weights": True},
)

# The network and the local batch size of every measurement of speed (docs/reference/performance-log.md).
REFERENCE = DEFAULT.replace(
    model={"filters": (32, 32), "dense_units": (128,), "conv_dropout": 0.0, "dense_dropout": 0.0},
    training={"local_batch_size": 256},
)

# 792 leaves of 99 species, three vectors of 64 numbers each. With eight leaves a species, the validation split is small.
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

# The network of the earlier project for leaves: a dropout of 0.4 between the convolution and the dense layers, none after.
SEED_LEAVES = LEAVES.replace(
    model={
        "filters": (512,),
        "kernel_size": 1,
        "conv_dropout": 0.4,
        "dense_units": (2048, 1024),
        "dense_dropout": 0.0,
        "transform": "standard",
    },
    # 69 million weights soon fit the few rows exactly.
    training={"num_epochs": 20, "early_stopping_patience": 5},
)

# YearPredictionMSD: the published tuned settings of TabM for this table, of the variant that `tabm` is: its members share the rows of
# a batch, and see the columns through piecewise-linear functions (github.com/yandex-research/tabm, commit 28e47ae3,
# paper/exp/tabm-sharetrainingbatches-piecewiselinear/why/regression-num-large-0-year; arXiv 2410.24210). They were tuned there on 50,000
# train rows of a random split, by the RMSE of the validation rows. That is 8.778 for this variant, the mean of 15 seeds, and 8.783 for the
# one whose members see rows of their own. On the test rows both have 8.870, and as five networks averaged 8.842 and 8.864.
# Rounded to four digits. What differs here: quantiles by 33 points without noise, and not 1,000; float32, and not bfloat16; an end after
# 400 epochs, and not by patience alone.
SONGS = DEFAULT.replace(
    model={
        "name": "tabm",
        "parallel_members": 32,
        "dense_units": (432, 432, 432, 432),
        "dense_dropout": 0.4249,
        "transform": "quantile",
        "arrangement": "piecewise",
        "piecewise_bins": 2,
        "piecewise_channels": 8,
    },
    objective={"loss": "mse"},
    optimizer={
        "optimizer": "adamw",
        "base_learning_rate": 3.61e-3,
        "rate_scaling": "none",
        "warmup_epochs": 0.0,
        "schedule": "constant",
        "weight_decay": 2.685e-4,
        "clip_norm": 1.0,
    },
    training={"global_batch_size": 512, "num_epochs": 400, "early_stopping_patience": 16, "monitor": "val_rmse"},
)

# The network cut to the generator of the synthetic songs: eight directions of the columns first, then the layers that build on
# them. Songs of one artist are alike, so a few hundred of them are no independent rows. A network that is free in all 91 directions
# learns the artists. Whether real songs are so is not known. The effect of each choice is in docs/reference/results.md.
SYNTHETIC_SONGS = DEFAULT.replace(
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
# The same, with convolutions along the timbres. It was chosen on the synthetic songs, too.
SYNTHETIC_SONGS_CNN = SYNTHETIC_SONGS.replace(
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

# A few thousand rows: Gaussian targets let near labels learn from each row, and dropout keeps the network from overfitting.
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

# Columns without an order, from hundreds of rows on: eight networks in one, on piecewise-linear functions of the columns. Chosen without
# test rows, by validation rows of five tables: benchmarks/table_choices.py has the ablation. Eight networks with weights of their own are
# about as good there as the 32 of TabM, which share theirs, and a step is that of eight. A gradient of length 0.05 at most is better than one
# of length 1, and averaged weights make the choice of the epoch by a few dozen rows a safe one. A column of many values that repeat
# may tell what a row belongs to, such as a day: an interval for each value lets the networks know them apart, as trees do. The batch follows the
# number of rows as by default, and the epochs do by `min_steps`: docs/how-to/choose-a-network.md has the table.
TABLE = DEFAULT.replace(
    table={"missing_in_features": "common"},
    model={
        "name": "tabm",
        "member_weights": "own",
        "parallel_members": 8,
        "dense_units": (256, 256),
        "dense_dropout": 0.0,
        "transform": "quantile",
        "arrangement": "piecewise",
        "piecewise_values": 1000,
        "missing_values": "indicator",
    },
    optimizer={
        "optimizer": "adamw",
        "base_learning_rate": 2e-3,
        "rate_scaling": "none",
        "warmup_epochs": 0.0,
        "schedule": "cosine",
        "weight_decay": 3e-4,
        "clip_norm": 0.05,
    },
    training={
        "num_epochs": 50,
        "min_steps": 4500,
        "early_stopping_patience": 0.2,
        "averaging": "ema",
        "ema_momentum": 0.99,
    },
)

# Series. The batch follows their number, as by default, and the epochs too: at least 1,000 steps, and 50 epochs. As in the published
# training of LITE and InceptionTime (1,500 epochs of batches of 64), the rate is halved where the loss of training stays, and the
# epoch with the lowest one is kept: most sets have a few dozen series, of which none can be spared. The transform was chosen on halves
# of the train series: benchmarks/series_choices.py.
SERIES = DEFAULT.replace(
    split={"val_fraction": 0.05},
    model={"name": "lite", "transform": "channel"},
    optimizer={"base_learning_rate": 1e-3, "rate_scaling": "none", "warmup_epochs": 0.0},
    training={
        "num_epochs": 50,
        "min_steps": 1000,
        "monitor": "train_loss",
        "early_stopping_patience": 0,
        "plateau_patience": 100,
        "plateau_factor": 0.5,
    },
)

# name: (what it is, the config)
RECIPES: dict[str, tuple[str, RunConfig]] = {
    "default": ("the seed CNN, on the given table or on the embedded synthetic songs", DEFAULT),
    "debug": ("a tiny network that trains in seconds, without dropout, with every check on", DEBUG),
    "reference": ("the network of the speed measurements, with a local batch size of 256", REFERENCE),
    "leaves": ("leaf species from three vectors of 64 numbers (columns id, species, then 192)", LEAVES),
    "songs": ("YearPredictionMSD: the published settings of TabM for it, for the RMSE of the year", SONGS),
    "synthetic-songs": (
        "the network cut to the generator of the synthetic songs (--num-songs 515345)",
        SYNTHETIC_SONGS,
    ),
    "synthetic-songs-cnn": ("the same, with convolutions along the twelve timbres", SYNTHETIC_SONGS_CNN),
    "table": ("any table whose columns have no order, classes or values: eight networks in one", TABLE),
    "series": ("series of one or more channels, classes or values: .ts files, or arrays of three axes", SERIES),
    "few-songs": ("a few thousand songs, or any table whose label is a year", FEW_SONGS),
    "seed-leaves": ("leaves, by exactly the network of the earlier project", SEED_LEAVES),
}


def recipe(name: str) -> RunConfig:
    """The RunConfig called `name`, or ConfigError."""
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}. The recipes are: {', '.join(RECIPES)}.")
    return RECIPES[name][1]
