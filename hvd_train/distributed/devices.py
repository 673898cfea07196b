"""GPUs: one for each rank of a host, in memory that grows as it is needed. Written by the rules; tried without a GPU alone."""

from __future__ import annotations

import platform
from typing import Any

CPUINFO = "/proc/cpuinfo"


def take_own_gpu(config: Any, local_rank: int) -> Any | None:
    """Let this process see the GPU of its local rank alone; returns it, None where there is none.

    `config` is `tf.config`. More ranks than GPUs share them in turn. To be called before TensorFlow touches a device.
    """
    gpus = config.list_physical_devices("GPU")
    if not gpus:
        return None
    own = gpus[local_rank % len(gpus)]
    config.set_visible_devices([own], "GPU")
    # Otherwise the first of two ranks on a GPU takes all of its memory.
    config.experimental.set_memory_growth(own, True)
    return own


def has_bfloat16(cpu_flags: set[str], compute_capability: tuple[int, int] | None) -> bool:
    """Whether the hardware has matrix multiplications in bfloat16: AVX512_BF16 or AMX on a CPU, Ampere and later on a GPU."""
    if compute_capability is not None:
        return compute_capability >= (8, 0)
    return bool(cpu_flags & {"avx512_bf16", "amx_bf16"})


def cpu_flags() -> set[str]:
    """What this CPU can do, by Linux's names; empty where that cannot be read."""
    return set(_cpuinfo("flags").split())


def cpu_name() -> str:
    """The CPU's model, or else its architecture. With its numbers: a virtual machine gives unlike CPUs one name."""
    numbers = (f"{key.split()[-1]} {value}" for key in ("cpu family", "model") if (value := _cpuinfo(key)))
    return " ".join(filter(None, (_cpuinfo("model name") or platform.machine(), *numbers)))


def _cpuinfo(key: str) -> str:
    """What /proc/cpuinfo has about the first CPU; empty where it has nothing."""
    try:
        with open(CPUINFO) as file:
            pairs = (line.partition(":") for line in file)
            return next((value.strip() for found, _, value in pairs if found.strip() == key), "")
    except OSError:
        return ""
