"""ModelConfig: which network, and what its input goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config.layout import parse_layout
from hvd_train.config.section import Section, require


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network."""

    name: Annotated[
        Literal["seed_cnn", "deep_cnn", "residual_cnn", "expansive_cnn", "mlp", "linear"], tyro.conf.arg(name="model")
    ] = "seed_cnn"
    """seed_cnn: n x {Conv1D, ReLU}, dropout, dense layers. deep_cnn, residual_cnn: deeper and normalised. expansive_cnn: zero-padded, widening, of Zhou's theory. mlp: dense layers alone. linear: the output alone."""
    filters: tuple[int, ...] = (32, 32)
    """Filters of each convolution (residual_cnn and deep_cnn: of each stage); as many as numbers. Not for mlp, linear."""
    kernel_size: int = 3
    """Taps of each convolution, in positions."""
    blocks: int = 1
    """Blocks of two convolutions in each stage of deep_cnn and residual_cnn."""
    conv_dropout: float = 0.2
    """Share of a convolution's outputs dropped while training: after every second one of seed_cnn, in each block of deep_cnn and residual_cnn."""
    dense_units: tuple[int, ...] = (128,)
    """Units of each dense layer before the output; expansive_cnn and linear have none."""
    dense_dropout: float = 0.5
    """Share of each dense layer's outputs dropped while training."""
    input_dropout: float = 0.0
    """Share of the normalised inputs dropped while training."""
    activation: Literal["relu", "gelu", "silu", "selu", "tanh"] = "relu"
    """What follows each layer but the last."""
    normalisation: Literal["none", "layer", "group"] = "none"
    """Over a row's own values, never over a batch: the number of ranks does not matter. seed_cnn and expansive_cnn have none."""
    pooling: Literal["flatten", "average", "max"] = "flatten"
    """How deep_cnn and residual_cnn end: all positions side by side, or their mean or maximum by channel. Between stages positions are halved unless it is flatten."""
    squeeze_ratio: int = 0
    """residual_cnn: squeeze-and-excitation with channels / squeeze_ratio units in each block; 0: none."""
    stochastic_depth: float = 0.0
    """residual_cnn: chance that the last block is left out for a row while training; the blocks before it, linearly less."""
    downsample_after: tuple[int, ...] = ()
    """expansive_cnn: the convolutions, counted from 1, after which only every downsample_by-th position is kept."""
    downsample_by: int = 2
    """expansive_cnn: m of the downsampling x_m, x_2m, x_3m, ..."""
    expansive_bias: Literal["shared", "ends", "free"] = "ends"
    """expansive_cnn: one bias for all positions, one for each of the kernel_size - 1 positions at both ends and a shared one between (the theory's), or one for each."""
    transform: Literal["standard", "signed-log", "quantile", "log-covariance"] = "standard"
    """What the columns go through first, fitted on the train split: standardised; then log(1 + |x|) with its sign; or mapped to a normal distribution by their quantiles; or, of 90 song columns, the matrix logarithm of the covariances."""
    whiten: bool = False
    """Then take the correlations out of the columns, by the train split's covariance, and add a column: how far the row is from the mean. One channel; not with --arrangement covariance."""
    arrangement: Literal["columns", "covariance", "projection", "permutation"] = "columns"
    """columns: by --layout. covariance: 90 song columns as the symmetric 12 x 12 covariance, the means as a 13th channel. projection, permutation: a learnt one to --projection, or of the columns."""
    projection: str = "32x8"
    """projection: POSITIONSxCHANNELS that a dense layer arranges the columns to."""

    def check(self) -> None:
        require(len(self.filters) > 0, "filters", self.filters, "there is at least one convolution")
        require(all(f > 0 for f in self.filters), "filters", self.filters, "each is a positive number of filters")
        require(all(u > 0 for u in self.dense_units), "dense_units", self.dense_units, "each is a positive number")
        require(self.kernel_size > 0, "kernel_size", self.kernel_size, "it is a positive number of positions")
        require(self.blocks > 0, "blocks", self.blocks, "it is a positive number")
        for key in ("conv_dropout", "dense_dropout", "input_dropout", "stochastic_depth"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "it is a share, at least 0 and below 1")
        require(self.squeeze_ratio >= 0, "squeeze_ratio", self.squeeze_ratio, "it is not negative; 0: none")
        require(self.downsample_by >= 2, "downsample_by", self.downsample_by, "it is at least 2")
        within = all(1 <= layer <= len(self.filters) for layer in self.downsample_after)
        rule = f"each is one of the {len(self.filters)} convolutions, counted from 1"
        require(within, "downsample_after", self.downsample_after, rule)
        require(
            self.name != "expansive_cnn" or self.kernel_size >= 2,
            "kernel_size",
            self.kernel_size,
            "expansive_cnn needs at least 2 taps to widen",
        )
        possible = not self.whiten or self.arrangement != "covariance"
        require(possible, "whiten", self.whiten, "--arrangement covariance needs the columns as they are")
        parse_layout(self.projection, key="projection")
