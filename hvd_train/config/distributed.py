"""DistributedConfig: how ranks share a machine and exchange gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hvd_train.config.section import Section, require

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
