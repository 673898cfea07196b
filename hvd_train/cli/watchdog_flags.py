"""The flags of the watchdog, for verbs without a RunConfig."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_train.config import require
from hvd_train.watchdog import Limits


@dataclass(frozen=True, kw_only=True)
class WatchdogFlags:
    """When a job of several ranks ends because one of them does not go on."""

    watchdog_s: float = 60.0
    """The job ends, and names the rank as frozen, when a rank is silent for this many seconds. 0 means never."""
    stall_s: float = 600.0
    """The job ends, and names the rank that others wait for, after this many seconds without a finished block of rows. 0 means never."""

    def __post_init__(self) -> None:
        for key in ("watchdog_s", "stall_s"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "it is not negative; 0 turns it off")

    def limits(self) -> Limits:
        return Limits(watchdog_s=self.watchdog_s, stall_s=self.stall_s)
