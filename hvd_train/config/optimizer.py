"""OptimizerConfig: the update rule and its learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hvd_train.config.section import Section, require


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Section):
    """How weights follow gradients."""

    optimizer: Literal["adam", "adamw", "sgd", "lamb", "lars"] = "adam"
    """The update rule. sgd has Nesterov momentum. lamb and lars are adamw and sgd with a learning rate for each layer, for large batches."""
    base_learning_rate: float = 1e-3
    """Learning rate at the reference batch size. The learning rate in use is scaled from it by the global batch size."""
    reference_batch_size: int = 256
    """Global batch size at which base_learning_rate holds."""
    rate_scaling: Literal["linear", "sqrt", "none"] = "sqrt"
    """How the learning rate grows with the global batch size. linear suits sgd. sqrt, the square root, suits adam and adamw."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate rises from near zero to its full value."""
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """Learning rate after warm-up. constant keeps it. cosine lowers it to a hundredth by the last epoch. step multiplies it by step_factor."""
    step_epochs: tuple[float, ...] = ()
    """For the step schedule: the epochs after which the rate is multiplied. By default at one half and three quarters of the run."""
    step_factor: float = 0.1
    """For the step schedule: the factor."""
    momentum: float = 0.9
    """Momentum of sgd and lars."""
    weight_decay: float = 0.0
    """Decoupled weight decay in each step, scaled by the learning rate. It applies to kernels, never to biases and normalisations. adam has none."""
    clip_norm: float | None = None
    """Upper limit of the norm of the averaged gradient. By default there is none."""

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
