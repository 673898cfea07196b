"""The config of each built-in network: its own fields, with their meanings and limits. Needs no TensorFlow.

`ModelConfig` has the fields of all of them as flags. The function of a network gets its own class
(`ModelConfig.of_network`), so a network cannot read a field that it does not list here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hvd_train.config.layout import parse_layout
from hvd_train.config.section import Section, require

Activation = Literal["relu", "gelu", "silu", "selu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class LinearConfig(Section):
    """linear: nothing between the row and the output."""


@dataclass(frozen=True, kw_only=True)
class ConvolutionsConfig(Section):
    """What all networks with convolutions have."""

    filters: tuple[int, ...] = (32, 32)
    """Filters of each convolution. deep_cnn and residual_cnn take the filters of each stage. There are as many convolutions as numbers."""
    kernel_size: int = 3
    """Length of the filters, in positions."""
    activation: Activation = "relu"
    """Activation function after each layer except the last."""

    def check(self) -> None:
        super().check()
        require(len(self.filters) > 0, "filters", self.filters, "there is at least one convolution")
        require(all(f > 0 for f in self.filters), "filters", self.filters, "each is a positive number of filters")
        require(self.kernel_size > 0, "kernel_size", self.kernel_size, "it is a positive number of positions")


@dataclass(frozen=True, kw_only=True)
class DenseStackConfig(Section):
    """What all networks with dense layers before the output have."""

    dense_units: tuple[int, ...] = (128,)
    """Units of each dense layer before the output."""
    dense_dropout: float = 0.5
    """Dropout rate after each dense layer."""
    activation: Activation = "relu"
    """Activation function after each layer except the last."""

    def check(self) -> None:
        super().check()
        require(all(u > 0 for u in self.dense_units), "dense_units", self.dense_units, "each is a positive number")
        require_share(self, "dense_dropout")


@dataclass(frozen=True, kw_only=True)
class MlpConfig(DenseStackConfig):
    """mlp: dense layers alone."""

    normalisation: Literal["none", "layer", "group"] = "none"
    """Normalisation over the values of one row, so the number of ranks does not matter. For deep_cnn, residual_cnn and mlp."""


@dataclass(frozen=True, kw_only=True)
class TabmConfig(DenseStackConfig):
    """tabm: many dense networks in one, which share most of their weights."""

    parallel_members: int = 32
    """For tabm: networks that are trained side by side in one model. Their predictions are averaged."""
    member_weights: Literal["shared", "own"] = "shared"
    """For tabm: whether the networks share the kernels of their dense layers, as TabM's do, or have their own. Then they are plain dense networks."""

    def check(self) -> None:
        super().check()
        require(self.parallel_members >= 1, "parallel_members", self.parallel_members, "there is at least one")


@dataclass(frozen=True, kw_only=True)
class SeedCnnConfig(DenseStackConfig, ConvolutionsConfig):
    """seed_cnn: n x {Conv1D, ReLU}, dropout, dense layers."""

    conv_dropout: float = 0.2
    """Dropout rate after every second convolution of seed_cnn, and in each block of deep_cnn and residual_cnn."""

    def check(self) -> None:
        super().check()
        require_share(self, "conv_dropout")


@dataclass(frozen=True, kw_only=True)
class DeepCnnConfig(MlpConfig, SeedCnnConfig):
    """deep_cnn: deeper and normalised."""

    blocks: int = 1
    """For deep_cnn and residual_cnn: blocks of two convolutions in each stage."""
    pooling: Literal["flatten", "average", "max"] = "flatten"
    """For deep_cnn and residual_cnn: the last layer takes all positions (flatten), or their mean or maximum. With average and max, each stage halves the positions."""

    def check(self) -> None:
        super().check()
        require(self.blocks > 0, "blocks", self.blocks, "it is a positive number")


@dataclass(frozen=True, kw_only=True)
class ResidualCnnConfig(DeepCnnConfig):
    """residual_cnn: deep_cnn with residual blocks."""

    squeeze_ratio: int = 0
    """For residual_cnn: squeeze-and-excitation with channels / squeeze_ratio units in each block. 0 means none."""
    stochastic_depth: float = 0.0
    """For residual_cnn: the probability that training skips the last block for a row. It falls linearly to the first block."""

    def check(self) -> None:
        super().check()
        require_share(self, "stochastic_depth")
        require(self.squeeze_ratio >= 0, "squeeze_ratio", self.squeeze_ratio, "it is not negative; 0: none")


@dataclass(frozen=True, kw_only=True)
class ExpansiveCnnConfig(ConvolutionsConfig):
    """expansive_cnn: zero-padded, widening, of Zhou's theory."""

    downsample_after: tuple[int, ...] = ()
    """For expansive_cnn: the convolutions, counted from 1, after which every downsample_by-th position is kept."""
    downsample_by: int = 2
    """For expansive_cnn: the m of the downsampling x_m, x_2m, x_3m, ..."""
    expansive_bias: Literal["shared", "ends", "free"] = "ends"
    """For expansive_cnn: one bias for all positions (shared) or for each (free). ends means one for each of the kernel_size - 1 positions at both ends, and a shared one between."""

    def check(self) -> None:
        super().check()
        require(self.downsample_by >= 2, "downsample_by", self.downsample_by, "it is at least 2")
        within = all(1 <= layer <= len(self.filters) for layer in self.downsample_after)
        rule = f"each is one of the {len(self.filters)} convolutions, counted from 1"
        require(within, "downsample_after", self.downsample_after, rule)


@dataclass(frozen=True, kw_only=True)
class SeriesNetworkConfig(Section):
    """fcn, resnet1d, inception, lite: networks for series, of the published size."""


@dataclass(frozen=True, kw_only=True)
class InputConfig(Section):
    """What the columns go through before any network."""

    input_dropout: float = 0.0
    """Dropout rate of the normalised inputs."""
    transform: Literal["standard", "signed-log", "quantile", "log-covariance", "series", "channel"] = "standard"
    """The first layer, fitted on the train split. standard: mean 0 and standard deviation 1. signed-log: then log(1 + |x|) with the sign of x. quantile: a normal distribution. log-covariance: the matrix logarithm of the covariances, for the 90 columns of songs. series: each channel of each series by its own mean and standard deviation. channel: each channel by its mean and standard deviation over all train series."""
    missing_values: Literal["mean", "indicator"] = "mean"
    """What a missing value is: the mean of its column, or that and a 1 in a column of its own. The latter is there for each column where at least 2 train rows, and one in 500, lack a value."""
    whiten: bool = False
    """Remove the correlations between columns, and add a column with the distance of the row from the mean. Not with --arrangement covariance."""
    arrangement: Literal["columns", "covariance", "projection", "permutation", "piecewise"] = "columns"
    """Positions and channels. columns: by --layout. covariance: the 90 columns of songs as 12 positions of 13 channels. projection: a dense layer to --projection. permutation: a learnt order of the columns. piecewise: each column as a position, with a learnt piecewise-linear function of it in each channel."""
    projection: str = "32x8"
    """For --arrangement projection: POSITIONSxCHANNELS of the output of the dense layer."""
    piecewise_bins: int = 48
    """For --arrangement piecewise: the most intervals of a column. They hold equally many train rows."""
    piecewise_values: int = 0
    """For --arrangement piecewise: a column of more values than bins, and at most this many, has an interval for each. They must come 8 times on average in train. 0 means never."""
    piecewise_channels: int = 16
    """For --arrangement piecewise: the channels of each column."""

    @property
    def is_for_series(self) -> bool:
        """Whether rows are series, which end where their padding begins."""
        return self.transform in ("series", "channel")

    def check(self) -> None:
        super().check()
        require_share(self, "input_dropout")
        if self.is_for_series:
            rule = f"--transform {self.transform} masks what is missing"
            require(self.missing_values == "mean", "missing_values", self.missing_values, rule)
            rule = f"--transform {self.transform} leaves positions and channels as --layout or the file says"
            require(self.arrangement == "columns", "arrangement", self.arrangement, rule)
            require(not self.whiten, "whiten", self.whiten, rule)
        possible = not self.whiten or self.arrangement != "covariance"
        require(possible, "whiten", self.whiten, "--arrangement covariance needs the columns as they are")
        parse_layout(self.projection, key="projection")
        for key in ("piecewise_bins", "piecewise_channels"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "it is a positive number")
        rule = "it is not negative; 0 turns it off"
        require(self.piecewise_values >= 0, "piecewise_values", self.piecewise_values, rule)


def require_share(section: Section, key: str) -> None:
    """ConfigError unless the field `key` is a share of what is dropped."""
    value = getattr(section, key)
    require(0 <= value < 1, key, value, "it is a share, at least 0 and below 1")


NETWORKS: dict[str, type[Section]] = {
    "seed_cnn": SeedCnnConfig,
    "deep_cnn": DeepCnnConfig,
    "residual_cnn": ResidualCnnConfig,
    "expansive_cnn": ExpansiveCnnConfig,
    "mlp": MlpConfig,
    "tabm": TabmConfig,
    "linear": LinearConfig,
    "fcn": SeriesNetworkConfig,
    "resnet1d": SeriesNetworkConfig,
    "inception": SeriesNetworkConfig,
    "lite": SeriesNetworkConfig,
}
"""The built-in networks, by what --model calls them. `hvd_train.models` has their functions."""
