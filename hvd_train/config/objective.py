"""ObjectiveConfig: the loss and the targets that it is computed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config.reference import FORM, absolute, is_reference, require_form
from hvd_train.config.section import Section, require

# Of `hvd_train.models.OBJECTIVES`, and auto. They stand here too, since --help and a check of a TOML file come first.
LOSSES = ("auto", "cross-entropy", "focal", "coral", "corn", "mse", "mae", "huber", "gaussian")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Section):
    """What training minimises. Every choice ends in the same metrics, each by the decoding that suits it."""

    loss: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(LOSSES)},FILE.py:CLASS}}")] = "auto"
    """cross-entropy and focal use a softmax over the labels. coral and corn use ordered thresholds. mse, mae and huber predict one value. gaussian predicts a mean and a standard deviation. auto means cross-entropy, or mse for real values. For a loss of your own, give path/to/file.py:NAME or package.module:NAME."""
    targets: Literal["one-hot", "gaussian", "two-hot"] = "one-hot"
    """Targets of the softmax: the label alone (one-hot), a Gaussian around it, or the two outputs next to it (two-hot)."""
    target_sigma: float = 2.0
    """For gaussian targets: the standard deviation, in units of the label."""
    target_step: int = 5
    """For two-hot targets: the distance between two outputs, in labels. The weighted mean of two outputs is the label."""
    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all labels."""
    focal_gamma: float = 2.0
    """For the focal loss: its exponent. A larger one gives less weight to rows that the model predicts well."""
    huber_delta: float | None = None
    """For the huber loss: the error from which it grows linearly, in units of the label. By default 5, or one standard deviation of the labels for real values."""
    calibrate: bool = True
    """Divide the trained logits by a temperature that is fitted on the validation split."""

    def check(self) -> None:
        if is_reference(self.loss):
            require_form(self.loss, key="loss")
            object.__setattr__(self, "loss", absolute(self.loss))
        else:
            rule = f"it is one of {', '.join(LOSSES)}, or a loss of your own, written {FORM}"
            require(self.loss in LOSSES, "loss", self.loss, rule)
        require(self.target_sigma > 0, "target_sigma", self.target_sigma, "a standard deviation is positive")
        require(self.target_step >= 1, "target_step", self.target_step, "it is at least 1")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "it is at least 0 and below 1")
        require(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "it is not negative")
        if self.huber_delta is not None:
            require(self.huber_delta > 0, "huber_delta", self.huber_delta, "an error's limit is positive")
