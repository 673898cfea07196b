"""The processor of a rank: its GPU, in memory that grows as it is needed, and what its CPU can do. No GPU was there to try."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

from hvd_train.gpus import GpuOfRank, own_index, read_inventory, visible_gpus

CPUINFO = "/proc/cpuinfo"


def take_own_gpu(config: Any, local_rank: int, memory_mb: int | None = None) -> Any | None:
    """Let this process see the GPU of its local rank alone; returns it, None where there is none.

    `config` is `tf.config`. More ranks than GPUs share them in turn. `memory_mb` is all that this rank takes of its
    GPU. To be called before TensorFlow touches a device.
    """
    gpus = config.list_physical_devices("GPU")
    index = own_index(len(gpus), local_rank)
    if index is None:
        return None
    own = gpus[index]
    config.set_visible_devices([own], "GPU")
    if memory_mb is not None:
        limit = config.LogicalDeviceConfiguration(memory_limit=memory_mb)
        config.set_logical_device_configuration(own, [limit])
    else:
        # Otherwise the first of two ranks on a GPU takes all of its memory.
        config.experimental.set_memory_growth(own, True)
    return own


def gpu_of_rank(host: str, own: Any | None, environment: Mapping[str, str] = os.environ) -> GpuOfRank:
    """What tells the GPU of this rank from others of its host. `own` is what `take_own_gpu` returned.

    By the UUID of NVML. Without NVML by the number of the device, under the CUDA_VISIBLE_DEVICES that it counts in.
    """
    if own is None:
        return GpuOfRank(host)
    given, number = environment.get("CUDA_VISIBLE_DEVICES"), int(own.name.rpartition(":")[2])
    seen = visible_gpus(read_inventory().gpus, given)
    if number < len(seen):
        return GpuOfRank(host, seen[number].uuid, seen[number].name, seen[number].memory_mb)
    return GpuOfRank(host, f"number {number} of {'all' if given is None else given}")


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
