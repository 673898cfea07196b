"""OptimizerConfig: the update rule and its learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hvd_train.config.section import Section, require


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
