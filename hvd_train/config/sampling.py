"""SamplingConfig: how often train rows are drawn, what they weigh, and how they are augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hvd_train.config.section import Section, require


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section):
    """How often train rows are drawn, what they weigh in the loss, and how they are augmented."""

    balance: Literal["none", "repeat", "inverse", "sqrt-inverse", "effective-number"] = "none"
    """Rare labels drawn more often (repeat), or their rows' loss weighted (the others). Train only."""
    balance_evenness: float = 1.0
    """repeat: from 0, labels as frequent as in the table, to 1, each label equally often."""
    balance_max_repeats: float = 0.0
    """repeat: at most this many times is a row drawn in an epoch; 0: no limit."""
    lds_sigma: float = 0.0
    """Standard deviation, in years or units of the label, of the kernel that smooths the counts behind loss weights (LDS); 0: none."""
    noise: float = 0.0
    """Gaussian noise added to train features, as a share of each feature's standard deviation."""
    feature_dropout: float = 0.0
    """Share of the train features that are replaced by their mean."""
    mixup_alpha: float = 0.0
    """Train rows are mixed with one of a near label, by a share from Beta(alpha, alpha); 0: not."""
    mixup_distance: float = 3.0
    """How far apart, in years or units of the label, two mixed rows may be."""

    def check(self) -> None:
        require(0 <= self.balance_evenness <= 1, "balance_evenness", self.balance_evenness, "it is between 0 and 1")
        limit = self.balance_max_repeats
        require(limit == 0 or limit >= 1, "balance_max_repeats", limit, "it is at least 1, or 0 for no limit")
        require(0 <= self.feature_dropout < 1, "feature_dropout", self.feature_dropout, "it is at least 0 and below 1")
        for key in ("lds_sigma", "noise", "mixup_alpha", "mixup_distance"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative")
