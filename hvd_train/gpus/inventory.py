"""The GPUs of this machine, by NVML: in milliseconds, without TensorFlow and without a context on any of them."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Of Linux, of a container, and of Linux under Windows.
DRIVERS = tuple(map(Path, ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")))
NOT_INSTALLED = "the package nvidia-ml-py, which lists GPUs, is not installed"


@dataclass(frozen=True)
class Gpu:
    """One GPU. `index` counts in the order of the bus."""

    index: int
    name: str
    uuid: str
    memory_mb: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Inventory:
    """What NVML knows. `problem` says why it knows nothing, and is empty where it does."""

    driver: str = ""
    """Version of the driver, such as 570.86.15."""
    cuda: tuple[int, int] = (0, 0)
    """The newest CUDA that this driver runs."""
    gpus: tuple[Gpu, ...] = ()
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """What two GPUs read each other's memory by: "NVLink", "PCIe", or "none"."""
    problem: str = ""


def has_driver() -> bool:
    """Whether NVIDIA's driver is loaded."""
    return any(path.exists() for path in DRIVERS)


def read_inventory(nvml: Any = None) -> Inventory:
    """Ask NVML. Never raises: what goes wrong is the `problem`."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return Inventory(problem=NOT_INSTALLED)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Inventory(problem=f"NVIDIA's driver does not answer ({error})")
    try:
        version = nvml.nvmlSystemGetCudaDriverVersion()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        gpus = tuple(_gpu(nvml, index, handle) for index, handle in enumerate(handles))
        pairs = itertools.combinations(range(len(handles)), 2)
        links = {(a, b): _link(nvml, handles[a], handles[b]) for a, b in pairs}
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return Inventory(driver, (version // 1000, version % 1000 // 10), gpus, links)
    except nvml.NVMLError as error:
        return Inventory(problem=f"NVIDIA's driver does not answer ({error})")
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int, handle: Any) -> Gpu:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory_mb = nvml.nvmlDeviceGetMemoryInfo(handle).total >> 20
    name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
    return Gpu(index, name, uuid, memory_mb, (major, minor))


def _link(nvml: Any, one: Any, other: Any) -> str:
    for name, kind in (("NVLink", nvml.NVML_P2P_CAPS_INDEX_NVLINK), ("PCIe", nvml.NVML_P2P_CAPS_INDEX_READ)):
        with contextlib.suppress(nvml.NVMLError):
            if nvml.nvmlDeviceGetP2PStatus(one, other, kind) == nvml.NVML_P2P_STATUS_OK:
                return name
    return "none"


def _text(value: str | bytes) -> str:
    """Earlier versions of the package return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
