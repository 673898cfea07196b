"""TrainingConfig: epochs, batches, early stopping, precision, checkpoints and time limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config.reference import absolute, is_reference, require_form
from hvd_train.config.section import Section, require

TRAIN_LOSS = "train_loss"
"""The one --monitor that is no metric of the validation split."""
PATIENCES = ("early_stopping_patience", "plateau_patience")
"""Numbers of epochs, or below 1 shares of them, which become numbers where the epochs are known."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """How long, in what batches, and when to stop."""

    global_batch_size: int | None = None
    """Rows in one step over all ranks. By default a power of two from 32 to 512, chosen by the size of the table."""
    local_batch_size: int | None = None
    """Rows in one step on each rank, instead of the global batch size. The number of ranks then changes the experiment."""
    num_epochs: int = 30
    """Largest number of passes over the train split."""
    min_steps: int = 0
    """Smallest number of steps: a small table gets as many more passes than num_epochs. 0 means num_epochs decides."""
    seed: int = 0
    """Seed of the weights, the order of the rows and dropout."""
    monitor: str = "val_loss"
    """The validation metric that chooses the best epoch and by which patience counts. It is a column of metrics.csv, such as val_rmse, val_mae or val_accuracy, also of a metric of your own. val_balanced_mae, val_balanced_accuracy, val_balanced_loss and for classes val_macro_f1 and val_auc let rare labels count as much as common ones. train_loss is the loss of training, where too few rows are left for validation."""
    early_stopping_patience: float = 5
    """Training stops after this many epochs without a better --monitor, which is the validation loss by default. Below 1 it is a share of all epochs: 0.2 is a fifth of them. 0 means never."""
    plateau_patience: float = 0
    """The learning rate is multiplied by plateau_factor after this many epochs without a better --monitor, or after this share of all epochs. 0 means never."""
    plateau_factor: float = 0.5
    """Factor of the learning rate on a plateau."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Number format of matrix multiplications. Weights, sums, losses and metrics stay float32. auto means bfloat16 where this machine has it and it is faster."""
    averaging: Literal["none", "ema", "swa"] = "none"
    """Validate and save averaged weights. ema is an exponential moving average over steps. swa is the mean over the last epochs."""
    ema_momentum: float = 0.999
    """For ema: the share of the average that each step keeps."""
    swa_from: float = 0.75
    """For swa: the share of the run after which the mean begins."""
    steps_per_execution: int | None = None
    """Steps between two returns to Python. By default 16, or fewer where an epoch is short."""
    checkpoint_every_steps: int = 0
    """Steps between two checkpoints within an epoch. 0 means one checkpoint at the end of each epoch."""
    check_equal_weights: bool = False
    """After each epoch, compare the weights of all ranks bit for bit, and stop if they differ."""
    watchdog_s: float = 60.0
    """The job ends, and names the rank as frozen, when a rank is silent for this many seconds. 0 means never."""
    stall_s: float = 600.0
    """The job ends, and names the rank that others wait for, after this many seconds without a finished step. 0 means never."""
    trackers: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--tracker"])] = ("tensorboard",)
    """Where metrics, settings and pictures are sent, in place of TensorBoard's files in the run directory: tensorboard, mlflow, wandb, csv, or a Tracker class of your own, as path/to/file.py:Class or package.module:Class. none turns all off."""

    def check(self) -> None:
        if "none" in self.trackers:
            require(
                len(self.trackers) == 1, "trackers", self.trackers, "none stands alone, so leave it or the others out"
            )
            object.__setattr__(self, "trackers", ())
        for name in filter(is_reference, self.trackers):
            require_form(name, key="trackers")
        # Which metrics there are depends on the labels and the loss; see MetricSet.of.
        require(self.monitor.isidentifier(), "monitor", self.monitor, "it is the name of a metric, such as val_rmse")
        if self.monitor != TRAIN_LOSS and not self.monitor.startswith("val_"):
            object.__setattr__(self, "monitor", f"val_{self.monitor}")
        names = tuple(absolute(name) if is_reference(name) else name for name in self.trackers)
        object.__setattr__(self, "trackers", names)
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
        for key in (*PATIENCES, "checkpoint_every_steps", "watchdog_s", "stall_s", "min_steps"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative; 0 turns it off")
        for key in PATIENCES:
            value = getattr(self, key)
            rule = "it is a whole number of epochs, or below 1, a share of them"
            require(value < 1 or value == int(value), key, value, rule)
            if value == int(value):
                object.__setattr__(self, key, int(value))
