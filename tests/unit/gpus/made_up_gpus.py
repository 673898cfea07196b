"""Made-up GPUs, and an NVML that lists them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hvd_train.gpus import Gpu


def gpus(number: int, name: str = "NVIDIA H100", capability: tuple[int, int] = (9, 0)) -> tuple[Gpu, ...]:
    return tuple(Gpu(i, name, f"GPU-{i}abc", 81559, capability) for i in range(number))


class NVMLError(Exception):
    """pynvml's."""


class FakeNvml(SimpleNamespace):
    """What read_inventory uses of pynvml. `nvlinks` are the pairs with NVLink, `refused` those without any access."""

    NVMLError = NVMLError
    NVML_P2P_CAPS_INDEX_READ, NVML_P2P_CAPS_INDEX_NVLINK, NVML_P2P_STATUS_OK = 0, 2, 0

    def __init__(self, number: int = 0, *, driver: str = "570.86.15", cuda: int = 12080, **more: Any) -> None:
        super().__init__(
            devices=gpus(number), driver=driver, cuda=cuda, shut=0, **{"nvlinks": (), "refused": (), **more}
        )

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("NVML Shared Library Not Found")

    def nvmlShutdown(self) -> None:
        self.shut += 1

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return int(self.cuda)

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return str(self.driver).encode()

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        device: Gpu = self.devices[index]
        return device

    def nvmlDeviceGetCudaComputeCapability(self, gpu: Gpu) -> tuple[int, int]:
        return gpu.capability

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> Any:
        return SimpleNamespace(total=gpu.memory_mb << 20)

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        return gpu.name

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetP2PStatus(self, one: Gpu, other: Gpu, kind: int) -> int:
        pair = (one.index, other.index)
        if kind == self.NVML_P2P_CAPS_INDEX_NVLINK:
            return 0 if pair in self.nvlinks else 5
        if pair in self.refused:
            raise NVMLError("Not Supported")
        return 0
