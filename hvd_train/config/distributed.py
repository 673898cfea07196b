"""DistributedConfig: how ranks share a machine and exchange gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hvd_train.config.section import Section, require

Automatic = Literal[
    "affinity",
    "threads",
    "shared-memory",
    "two-levels",
    "shared-update",
    "mpi-yield",
    "mpi-eager",
    "cycle-time",
    "wake",
    "fusion",
    "primitives",
    "launch",
    "quiet",
]
Engine = Literal["auto", "horovod", "tensorflow", "solo"]
AUTOMATIC: tuple[Automatic, ...] = get_args(Automatic)


@dataclass(frozen=True, kw_only=True)
class DistributedConfig(Section):
    """How ranks share a machine and exchange gradients. A variable of the environment takes precedence over a field here."""

    engine: Engine = "auto"
    """What joins the ranks: Horovod with MPI, TensorFlow's own collectives, or nothing (solo, one rank). auto follows what started them."""
    automatic: tuple[Automatic, ...] = AUTOMATIC
    """Settings that are chosen automatically. With nothing after the flag, none is. docs/how-to/performance.md describes each."""
    threads_per_rank: int | None = None
    """TensorFlow threads for one operation on each rank. By default the number of cores that the rank has."""
    gpu_memory_mb: int | None = None
    """Memory, in MiB, that each rank takes of its GPU. By default it takes more when it needs more."""
    cycle_time_ms: float | None = None
    """Milliseconds between two polls of Horovod for gradients to send (HOROVOD_CYCLE_TIME). By default it polls when there are some, then every 0.2."""
    fusion_threshold_mb: float | None = None
    """Largest block, in MiB, that Horovod copies together and sends (HOROVOD_FUSION_THRESHOLD). By default 1 on one host, and 128 on several."""
    allreduce: Literal["auto", "two-levels", "mpi", "recursive-doubling", "ring", "segmented-ring", "rabenseifner"] = (
        "auto"
    )
    """How gradients are summed between hosts. two-levels sums on each host first, then between hosts over TCP connections of its own. mpi lets Open MPI choose by size, and the others are its algorithms. auto takes two-levels where the hosts have no network device for RDMA."""
    wire_precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of gradients on the wire between hosts, with error feedback. 16 bits halve what is sent and change the results a little. It needs two-levels (--allreduce)."""
    autotune: bool = False
    """Let Horovod tune its cycle time and fusion threshold during training (HOROVOD_AUTOTUNE)."""
    gradient_groups: int | None = None
    """Number of groups in which gradients are sent. With more groups, sending starts earlier in the backward pass. By default 2 where the links between hosts carry less than 4 Gbit/s, else 1."""
    compression: Literal["none", "fp16"] = "none"
    """fp16 rounds gradients to 16 bits, which halves what is sent. MPI carries them then. Between hosts wire_precision halves it, too, and keeps two-levels."""
    backward_passes_per_step: int = 1
    """Steps whose gradients are averaged into one update and sent once. The global batch size of an update is this many times larger."""
    local_steps: int = 1
    """Steps that each virtual worker takes from common weights before the weights are averaged, for slow links between hosts. 1 averages gradients in every step."""
    virtual_workers: int | None = None
    """For local_steps above 1: the number of workers. The number of ranks must divide it, and it must divide the number of virtual shards. By default 4."""

    def check(self) -> None:
        self._check_local_steps()
        self._check_wire_precision()
        for key in ("threads_per_rank", "gpu_memory_mb", "gradient_groups", "backward_passes_per_step"):
            value = getattr(self, key)
            require(value is None or value >= 1, key, value, "it is at least 1")
        cycle, fusion = self.cycle_time_ms, self.fusion_threshold_mb
        require(cycle is None or cycle > 0, "cycle_time_ms", cycle, "a time is positive")
        require(fusion is None or fusion >= 0, "fusion_threshold_mb", fusion, "it is not negative; 0 sends each alone")

    def _check_local_steps(self) -> None:
        steps, workers = self.local_steps, self.virtual_workers
        require(steps >= 1, "local_steps", steps, "it is at least 1, which averages gradients in every step")
        require(workers is None or workers >= 1, "virtual_workers", workers, "it is at least 1")
        if steps == 1:
            require(workers is None, "virtual_workers", workers, "it is for --local-steps above 1")
            return
        rule = f"with local_steps = {steps} weights are averaged, and no gradients are sent"
        for key in ("gradient_groups", "backward_passes_per_step"):
            require(getattr(self, key) in (None, 1), key, getattr(self, key), rule)
        require(self.compression == "none", "compression", self.compression, rule)
        require(self.wire_precision == "float32", "wire_precision", self.wire_precision, rule)

    def _check_wire_precision(self) -> None:
        if self.wire_precision == "float32":
            return
        rule = f"with wire_precision = {self.wire_precision} "
        able = self.allreduce in ("auto", "two-levels")
        require(able, "allreduce", self.allreduce, rule + "it is two-levels, which rounds, or auto")
        require(
            self.compression == "none",
            "compression",
            self.compression,
            rule + "it is none: rounding twice gains nothing",
        )
