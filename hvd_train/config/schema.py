"""RunConfig: everything that decides an experiment, as frozen typed data that is checked once.

A field's docstring stands below it and becomes the help of its flag. `None` always means "chosen for you"; what was
chosen is logged and saved. The checks here need nothing but the values themselves; what depends on the data or on the
number of ranks is checked where those are known (`hvd_train.data`, `hvd_train.training.batch_sizes`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro.conf

from hvd_train.config.text_options import broken_rules
from hvd_train.errors import ConfigError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def require(holds: bool, key: str, given: object, rule: str) -> None:
    """Raise ConfigError naming `key` unless `holds`."""
    if not holds:
        raise ConfigError(f"{key} = {given!r} is not possible: {rule}.")


class Section:
    """What all sections share: one rule for every number, then the section's own (`check`)."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, float)]
            require(all(map(math.isfinite, numbers)), each.name, value, "it is a finite number")
        self.check()

    def check(self) -> None:
        """Raise ConfigError for a value that is impossible."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """Which table, and how to read it."""

    path: Annotated[Path | None, tyro.conf.arg(name="data", metavar="PATH")] = None
    """A table (CSV) or a dataset directory made by `hvd-train data convert`. Without it: the embedded synthetic songs."""
    label: str | None = None
    """The column to predict: its name, or its number counted from 1. By default `year`, or else the first column."""
    label_kind: Literal["auto", "years", "integers", "classes", "values"] = "auto"
    """What the label is: years and integers keep their order and distances, classes are names, values are regression."""
    drop: tuple[str, ...] = ()
    """Columns to leave out, by name or number."""
    features: tuple[str, ...] = ()
    """Columns to use, by name or number. By default all but the label and the dropped ones."""
    layout: str | None = None
    """POSITIONSxCHANNELS of a row as the network sees it: 90x1, or 64x3 for columns that hold channel after channel. By default one channel."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the table's first line holds names. auto: it does when most of its cells are not numbers."""
    delimiter: str = ","
    """What separates the columns of a text table: a character, tab, or whitespace (runs of blanks; a space is the same)."""
    format: Literal["auto", "csv", "parquet", "libsvm", "npz"] = "auto"
    """What kind of file the table is. auto: by its content and name; csv may be compressed (gz, bz2, xz, zip)."""
    missing: tuple[str, ...] = ()
    """What stands for a missing value, such as NA, ? or -999. An empty cell always does."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers in a text table."""
    thousands: str = ""
    """What groups the digits of numbers in a text table by three: one of . , ' _ or a space. By default nothing does."""
    encoding: str = "auto"
    """How the characters of a text table are coded, such as latin-1 or cp1252. auto: by its byte order mark, or else UTF-8."""
    comment: str = ""
    """Lines of a text table that begin with this, such as #, are left out; one before the rows may name the columns."""
    index_base: Literal["auto", "0", "1"] = "auto"
    """The number of a LIBSVM file's first feature. auto: 0 where a row lists it, or else 1."""
    missing_labels: Literal["error", "drop"] = "error"
    """Rows without a label: an error that names the first, or left out and counted."""
    split: str = "auto"
    """How rows are dealt to train, val and test: auto, official (YearPredictionMSD), sequential, random, stratified, group:COLUMN or column:COLUMN."""
    val_fraction: float = 0.1
    """Share of the rows held out to choose the best epoch, between 0 and 1."""
    test_fraction: float = 0.1
    """Share of the rows held out for the final figures, between 0 and 1."""
    split_seed: int = 0
    """Seed of the split and of the deal to virtual shards."""
    insist_on_random_split: bool = False
    """Split songs at random all the same, although artists then stand on both sides."""
    num_virtual_shards: int | None = None
    """Shards that the rows are dealt to, whatever the number of ranks; must be divisible by it. By default 64, less for small tables."""
    balance: Literal["none", "repeat", "inverse", "sqrt-inverse", "effective-number"] = "none"
    """Rare labels drawn more often (repeat), or their rows' loss weighted (the others). Train only."""
    balance_evenness: float = 1.0
    """repeat: from 0, labels as frequent as in the table, to 1, each label equally often."""
    balance_max_repeats: float = 0.0
    """repeat: at most this many times is a row drawn in an epoch; 0: no limit."""
    lds_sigma: float = 0.0
    """Deviation, in years or units of the label, of the kernel that smooths the counts behind loss weights (LDS); 0: none."""
    noise: float = 0.0
    """Gaussian noise added to train features, as a share of each feature's deviation."""
    feature_dropout: float = 0.0
    """Share of the train features that are replaced by their mean."""
    mixup_alpha: float = 0.0
    """Train rows are mixed with one of a near label, by a share from Beta(alpha, alpha); 0: not."""
    mixup_distance: float = 3.0
    """How far apart, in years or units of the label, two mixed rows may be."""
    targets: Literal["one-hot", "gaussian", "two-hot"] = "one-hot"
    """What the softmax is trained towards: the label alone, a Gaussian around it, or its two neighbours among target_step."""
    target_sigma: float = 2.0
    """gaussian: its deviation, in years or units of the label."""
    target_step: int = 5
    """two-hot: outputs apart from each other whose weighted mean is the label."""
    num_songs: int = 40_000
    """Rows of the embedded synthetic songs, where they are the data."""
    cache_dir: Path | None = None
    """Where converted tables are kept. By default $XDG_CACHE_HOME/hvd_train or ~/.cache/hvd_train."""

    def check(self) -> None:
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "it is a share between 0 and 1")
        require(0 < self.test_fraction < 1, "test_fraction", self.test_fraction, "it is a share between 0 and 1")
        held_out = self.val_fraction + self.test_fraction
        require(held_out < 1, "val_fraction + test_fraction", held_out, "rows must be left to train on")
        for broken in broken_rules(self.delimiter, self.thousands, self.encoding, self.comment):
            require(False, *broken)
        require(
            self.num_virtual_shards is None or self.num_virtual_shards >= 1,
            "num_virtual_shards",
            self.num_virtual_shards,
            "there is at least one",
        )
        require(0 <= self.balance_evenness <= 1, "balance_evenness", self.balance_evenness, "it is between 0 and 1")
        limit = self.balance_max_repeats
        require(limit == 0 or limit >= 1, "balance_max_repeats", limit, "it is at least 1, or 0 for no limit")
        require(0 <= self.feature_dropout < 1, "feature_dropout", self.feature_dropout, "it is at least 0 and below 1")
        for key in ("lds_sigma", "noise", "mixup_alpha", "mixup_distance"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative")
        require(self.target_sigma > 0, "target_sigma", self.target_sigma, "a deviation is positive")
        require(self.target_step >= 1, "target_step", self.target_step, "it is at least 1")
        require(self.num_songs >= 1000, "num_songs", self.num_songs, "the synthetic set has at least 1000 songs")
        if self.layout is not None:
            parse_layout(self.layout)


def parse_layout(text: str, *, key: str = "layout") -> tuple[int, int]:
    """Positions and channels of "64x3".

    >>> parse_layout("64x3")
    (64, 3)
    """
    positions, _, channels = text.partition("x")
    well_formed = positions.isdecimal() and channels.isdecimal() and int(positions) > 0 and int(channels) > 0
    require(well_formed, key, text, "it is written POSITIONSxCHANNELS, like 90x1 or 64x3")
    return int(positions), int(channels)


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


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Section):
    """What training makes small. Every choice ends in the same metrics, by its own best decoding."""

    loss: Literal["auto", "cross-entropy", "focal", "coral", "corn", "mse", "mae", "huber", "gaussian"] = "auto"
    """cross-entropy, focal: a softmax over the labels. coral, corn: ordered thresholds. mse, mae, huber: one value. gaussian: a mean and a deviation. auto: cross-entropy, or mse for real values."""
    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all labels."""
    focal_gamma: float = 2.0
    """focal: how strongly rows that are predicted well are left aside."""
    huber_delta: float | None = None
    """huber: the error, in years or units of the label, from which the loss grows linearly. By default 5, and for real values one standard deviation of the train labels."""
    calibrate: bool = True
    """Divide the trained logits by a temperature that is fitted on the validation split."""

    def check(self) -> None:
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "it is at least 0 and below 1")
        require(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "it is not negative")
        if self.huber_delta is not None:
            require(self.huber_delta > 0, "huber_delta", self.huber_delta, "an error's limit is positive")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Section):
    """How weights follow gradients."""

    optimizer: Literal["adam", "adamw", "sgd", "lamb", "lars"] = "adam"
    """The update rule; sgd is with Nesterov momentum; lamb and lars are adamw and sgd with a rate of each layer's own, for large batches."""
    base_learning_rate: float = 1e-3
    """The rate at the reference batch size; the rate in use is scaled from it by the global batch."""
    reference_batch_size: int = 256
    """The global batch, in rows, at which base_learning_rate holds."""
    rate_scaling: Literal["linear", "sqrt", "none"] = "sqrt"
    """How the rate grows with the global batch: linear suits sgd, the square root suits adam and adamw."""
    warmup_epochs: float = 1.0
    """Epochs over which the rate rises from near zero to its value."""
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """The rate after warm-up: constant, falling to a hundredth along a cosine by the last epoch, or in steps."""
    step_epochs: tuple[float, ...] = ()
    """step: the epochs after which the rate is multiplied by step_factor. By default at a half and at three quarters of the run."""
    step_factor: float = 0.1
    """step: what the rate is multiplied by."""
    momentum: float = 0.9
    """Momentum of sgd and lars."""
    weight_decay: float = 0.0
    """Decoupled weight decay per step, scaled by the rate (adam has none); kernels only, never biases and normalisations."""
    clip_norm: float | None = None
    """Upper limit of the norm of the averaged gradient; none by default."""

    def check(self) -> None:
        require(self.base_learning_rate > 0, "base_learning_rate", self.base_learning_rate, "a rate is positive")
        require(
            self.reference_batch_size > 0, "reference_batch_size", self.reference_batch_size, "it is a number of rows"
        )
        require(0 < self.step_factor < 1, "step_factor", self.step_factor, "it is between 0 and 1")
        ordered = all(a < b for a, b in zip((0.0, *self.step_epochs), self.step_epochs, strict=False))
        require(ordered, "step_epochs", self.step_epochs, "they are positive and grow")
        require(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "it is a number of epochs, or 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "it is at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "it is not negative")
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "a norm's limit is positive")
        require(
            self.weight_decay == 0 or self.optimizer != "adam",
            "weight_decay",
            self.weight_decay,
            "adam has no decoupled weight decay: choose --optimizer adamw, or 0",
        )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """How long, in what batches, and when to stop."""

    global_batch_size: int | None = None
    """Rows of one step over all ranks. By default a power of two from 32 to 512 by the size of the table; never by the number of ranks."""
    local_batch_size: int | None = None
    """Rows of one step on each rank, instead of the global batch: then the number of ranks changes the experiment."""
    num_epochs: int = 30
    """Passes over the train split, at most."""
    seed: int = 0
    """Seed of the weights, the order of the rows and dropout."""
    early_stopping_patience: int = 5
    """Epochs without a better validation loss after which training ends; 0: never."""
    plateau_patience: int = 0
    """Epochs without a better validation loss after which the rate is multiplied by plateau_factor; 0: never."""
    plateau_factor: float = 0.5
    """What the rate is multiplied by on a plateau."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """What products are computed in; weights, sums, losses and metrics stay float32. auto: bfloat16 where this machine has it and it is faster."""
    averaging: Literal["none", "ema", "swa"] = "none"
    """Validate and keep averaged weights: ema, an exponential moving average over steps; swa, the mean over the last epochs."""
    ema_momentum: float = 0.999
    """ema: what is kept of the average at each step."""
    swa_from: float = 0.75
    """swa: the share of the run after which the mean begins."""
    steps_per_execution: int | None = None
    """Steps between two returns to Python. By default 16, fewer where an epoch is short."""
    checkpoint_every_steps: int = 0
    """Steps between two checkpoints inside an epoch; 0: only at each epoch's end."""
    check_equal_weights: bool = False
    """After each epoch compare all ranks' weights bit for bit, and stop if they differ."""
    watchdog_s: float = 60.0
    """Seconds of silence after which a rank is declared frozen and the job ended; 0: never."""
    stall_s: float = 600.0
    """Seconds without a finished step after which the job is ended, naming the rank that others wait for; 0: never."""

    def check(self) -> None:
        both = self.global_batch_size is not None and self.local_batch_size is not None
        require(not both, "global_batch_size and local_batch_size", "both", "give one of them; the other is derived")
        for key in ("global_batch_size", "local_batch_size", "steps_per_execution"):
            value = getattr(self, key)
            require(value is None or value >= 1, key, value, "it is at least 1")
        require(self.num_epochs >= 1, "num_epochs", self.num_epochs, "it is at least 1")
        require(0 <= self.seed < 2**31, "seed", self.seed, "it is between 0 and 2147483647")
        require(0 < self.plateau_factor < 1, "plateau_factor", self.plateau_factor, "it is between 0 and 1")
        require(0 < self.ema_momentum < 1, "ema_momentum", self.ema_momentum, "it is between 0 and 1")
        require(0 <= self.swa_from < 1, "swa_from", self.swa_from, "it is at least 0 and below 1")
        for key in ("early_stopping_patience", "plateau_patience", "checkpoint_every_steps", "watchdog_s", "stall_s"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative; 0 turns it off")


Automatic = Literal[
    "affinity",
    "threads",
    "shared-memory",
    "shared-update",
    "mpi-yield",
    "cycle-time",
    "wake",
    "fusion",
    "primitives",
    "launch",
    "quiet",
]
AUTOMATIC: tuple[Automatic, ...] = get_args(Automatic)


@dataclass(frozen=True, kw_only=True)
class DistributedConfig(Section):
    """How ranks share a machine and exchange gradients. A variable that is set in the environment wins over a field here."""

    automatic: tuple[Automatic, ...] = AUTOMATIC
    """The settings that are made by themselves; with nothing after it, none is. docs/how-to/performance.md says what each does."""
    threads_per_rank: int | None = None
    """TensorFlow's threads for one operation on each rank. By default as many as the rank has cores."""
    cycle_time_ms: float | None = None
    """Milliseconds between two looks of Horovod at what is to be sent (HOROVOD_CYCLE_TIME). By default it looks when there is something, then every 0.2."""
    fusion_threshold_mb: float | None = None
    """The most that Horovod copies together and sends (HOROVOD_FUSION_THRESHOLD). By default 1 on one host, Horovod's own 128 on more."""
    allreduce: Literal["auto", "recursive-doubling", "ring", "segmented-ring", "rabenseifner"] = "auto"
    """How Open MPI adds the ranks' gradients; auto: it decides by size."""
    autotune: bool = False
    """Let Horovod search its cycle time and fusion threshold while it trains (HOROVOD_AUTOTUNE)."""
    gradient_groups: int = 1
    """In how many groups gradients are sent; more start earlier, while the rest of the backward pass still runs."""
    compression: Literal["none", "fp16"] = "none"
    """fp16 sends gradients as 16 bits: half as much, and rounded."""
    backward_passes_per_step: int = 1
    """Steps whose gradients are averaged into one update and sent once: the global batch of an update is so many times larger."""

    def check(self) -> None:
        for key in ("threads_per_rank", "gradient_groups", "backward_passes_per_step"):
            value = getattr(self, key)
            require(value is None or value >= 1, key, value, "it is at least 1")
        cycle, fusion = self.cycle_time_ms, self.fusion_threshold_mb
        require(cycle is None or cycle > 0, "cycle_time_ms", cycle, "a time is positive")
        require(fusion is None or fusion >= 0, "fusion_threshold_mb", fusion, "it is not negative; 0 sends each alone")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One experiment. Two runs with equal RunConfigs and equal data are the same experiment at any number of ranks."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)

    def replace(self, **changes: object) -> RunConfig:
        """A copy with fields changed by their section: `config.replace(training=dict(num_epochs=3))`."""
        sections = {
            key: dataclasses.replace(getattr(self, key), **value) if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        return dataclasses.replace(self, **sections)  # type: ignore[arg-type]
