"""SamplingConfig: how often train rows are drawn, what they weigh, and how they are augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hvd_train.config.section import Section, require


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section):
    """How often train rows are drawn, what they weigh in the loss, and how they are augmented."""

    balance: Literal["none", "repeat", "inverse", "sqrt-inverse", "effective-number"] = "none"
    """How training treats rare labels. repeat draws their rows more often. The other methods weight the loss of each row."""
    balance_evenness: float = 1.0
    """For repeat: 0 keeps the label frequencies of the table, 1 draws each label equally often."""
    balance_max_repeats: float = 0.0
    """For repeat: the most times that an epoch draws one row. 0 means no limit."""
    lds_sigma: float = 0.0
    """Standard deviation of the kernel that smooths the label counts behind loss weights (LDS), in units of the label. 0 means none."""
    noise: float = 0.0
    """Standard deviation of the Gaussian noise on train features, as a multiple of the standard deviation of each feature."""
    feature_dropout: float = 0.0
    """Share of the train features that their mean replaces."""
    window_warp: float = 0.0
    """For series: the probability that a train series has a window of a tenth of its length stretched to twice that, or squeezed to half of it."""
    mixup_alpha: float = 0.0
    """Mix each train row with a row of a near label, by a share drawn from Beta(alpha, alpha). 0 means none."""
    mixup_distance: float = 3.0
    """Largest distance between the labels of two mixed rows, in units of the label."""

    def check(self) -> None:
        require(0 <= self.balance_evenness <= 1, "balance_evenness", self.balance_evenness, "it is between 0 and 1")
        limit = self.balance_max_repeats
        require(limit == 0 or limit >= 1, "balance_max_repeats", limit, "it is at least 1, or 0 for no limit")
        require(0 <= self.feature_dropout < 1, "feature_dropout", self.feature_dropout, "it is at least 0 and below 1")
        require(0 <= self.window_warp <= 1, "window_warp", self.window_warp, "it is a probability, from 0 to 1")
        for key in ("lds_sigma", "noise", "mixup_alpha", "mixup_distance"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative")
