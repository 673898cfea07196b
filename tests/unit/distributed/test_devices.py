"""GPUs by local rank, on made-up device lists: no GPU was there to try."""

from __future__ import annotations

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hvd_train.distributed import devices
from hvd_train.distributed.devices import cpu_flags, cpu_name, gpu_of_rank, has_bfloat16, take_own_gpu
from hvd_train.gpus import Gpu, GpuOfRank, Inventory


class FakeConfig:
    """What take_own_gpu uses of tf.config."""

    def __init__(self, num_gpus: int) -> None:
        self.gpus = [SimpleNamespace(name=f"/physical_device:GPU:{n}") for n in range(num_gpus)]
        self.visible: Any = None
        self.grows: list[str] = []
        self.experimental = SimpleNamespace(set_memory_growth=lambda gpu, on: on and self.grows.append(gpu.name))

        self.limits: dict[str, int] = {}

    def LogicalDeviceConfiguration(self, memory_limit: int) -> int:
        return memory_limit

    def set_logical_device_configuration(self, gpu: Any, parts: list[int]) -> None:
        (self.limits[gpu.name],) = parts

    def list_physical_devices(self, kind: str) -> list[Any]:
        assert kind == "GPU"
        return self.gpus

    def set_visible_devices(self, devices: list[Any], kind: str) -> None:
        self.visible = [device.name for device in devices]


@pytest.mark.parametrize(("num_gpus", "local_rank", "own"), [(4, 0, 0), (4, 3, 3), (2, 3, 1), (1, 5, 0)])
def test_one_gpu_a_local_rank_with_growing_memory(num_gpus: int, local_rank: int, own: int) -> None:
    config = FakeConfig(num_gpus)
    taken = take_own_gpu(config, local_rank)
    assert taken is not None
    assert config.visible == config.grows == [taken.name] == [f"/physical_device:GPU:{own}"]


def test_memory_grows_or_has_a_limit() -> None:
    config = FakeConfig(2)
    assert take_own_gpu(config, 1, 4000) is not None
    assert config.limits == {"/physical_device:GPU:1": 4000}
    assert config.grows == [], "TensorFlow refuses both at once"


def test_a_gpu_is_known_by_its_uuid_or_else_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    own = FakeConfig(2).gpus[1]
    assert gpu_of_rank("lab1", None, {}) == GpuOfRank("lab1")
    monkeypatch.setattr(devices, "read_inventory", lambda: Inventory(problem="no NVML"))
    assert gpu_of_rank("lab1", own, {}) == GpuOfRank("lab1", "number 1 of all")
    # A wrapper of the user gave each rank another list: number 0 of them are different GPUs.
    first = FakeConfig(1).gpus[0]
    numbers = {gpu_of_rank("lab1", first, {"CUDA_VISIBLE_DEVICES": given}).identity for given in "01"}
    assert len(numbers) == 2
    known = tuple(Gpu(i, "NVIDIA H100", f"GPU-{i}", 81559, (9, 0)) for i in range(4))
    monkeypatch.setattr(devices, "read_inventory", lambda: Inventory(gpus=known))
    given = {"CUDA_VISIBLE_DEVICES": "0,3"}
    assert gpu_of_rank("lab1", own, given) == GpuOfRank("lab1", "GPU-3", "NVIDIA H100", 81559)


def test_without_a_gpu_nothing_is_touched() -> None:
    config = FakeConfig(0)
    assert take_own_gpu(config, 1) is None
    assert config.visible is None
    assert config.grows == []


def test_who_has_bfloat16() -> None:
    assert has_bfloat16({"avx512f", "avx512_bf16"}, None)
    assert has_bfloat16({"amx_bf16"}, None)
    assert not has_bfloat16({"avx2", "avx512f"}, None)
    assert has_bfloat16(set(), (8, 0))
    assert not has_bfloat16({"avx512_bf16"}, (7, 5))  # where there is a GPU it computes
    assert isinstance(cpu_flags(), set)


def test_unlike_cpus_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def named(text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(devices, "CPUINFO", str(tmp_path / "cpuinfo"))
        return cpu_name()

    genoa = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
    assert named(genoa) == "AMD EPYC family 25 model 17"
    assert named(genoa.replace("25", "26")) != named(genoa)
    assert named("processor\t: 0\n") == platform.machine()
