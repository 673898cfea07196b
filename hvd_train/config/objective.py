"""ObjectiveConfig: the loss and the targets that it is computed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hvd_train.config.section import Section, require


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Section):
    """What training makes small. Every choice ends in the same metrics, by its own best decoding."""

    loss: Literal["auto", "cross-entropy", "focal", "coral", "corn", "mse", "mae", "huber", "gaussian"] = "auto"
    """cross-entropy, focal: a softmax over the labels. coral, corn: ordered thresholds. mse, mae, huber: one value. gaussian: a mean and a deviation. auto: cross-entropy, or mse for real values."""
    targets: Literal["one-hot", "gaussian", "two-hot"] = "one-hot"
    """What the softmax is trained towards: the label alone, a Gaussian around it, or its two neighbours among target_step."""
    target_sigma: float = 2.0
    """gaussian: its standard deviation, in years or units of the label."""
    target_step: int = 5
    """two-hot: outputs apart from each other whose weighted mean is the label."""
    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all labels."""
    focal_gamma: float = 2.0
    """focal: how strongly rows that are predicted well are left aside."""
    huber_delta: float | None = None
    """huber: the error, in years or units of the label, from which the loss grows linearly. By default 5, and for real values one standard deviation of the train labels."""
    calibrate: bool = True
    """Divide the trained logits by a temperature that is fitted on the validation split."""

    def check(self) -> None:
        require(self.target_sigma > 0, "target_sigma", self.target_sigma, "a standard deviation is positive")
        require(self.target_step >= 1, "target_step", self.target_step, "it is at least 1")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "it is at least 0 and below 1")
        require(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "it is not negative")
        if self.huber_delta is not None:
            require(self.huber_delta > 0, "huber_delta", self.huber_delta, "an error's limit is positive")
