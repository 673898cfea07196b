"""The flags of the watch over the ranks, for verbs that have no RunConfig."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_train.config import require
from hvd_train.watchdog import Limits


@dataclass(frozen=True, kw_only=True)
class WatchFlags:
    """As in a run's config; they matter where there are several ranks."""

    watchdog_s: float = 60.0
    """Seconds of silence after which a rank is declared frozen and the job ended; 0: never."""
    stall_s: float = 600.0
    """Seconds without a finished block of rows after which the job is ended, naming the rank that others wait for; 0: never."""

    def __post_init__(self) -> None:
        for key in ("watchdog_s", "stall_s"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative; 0 turns it off")

    def limits(self) -> Limits:
        return Limits(watchdog_s=self.watchdog_s, stall_s=self.stall_s)
