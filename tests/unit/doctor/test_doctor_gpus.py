"""The doctor's judgement of made-up GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hvd_train.doctor import gpu_rules
from hvd_train.doctor.gpu_rules import judge_gpus
from hvd_train.gpus import Gpu, Inventory

PACKAGES = {"cuDNN": "9.28.0.42", "NCCL": "2.32.3"}
TENSORFLOW: dict[str, Any] = {
    "tensorflow": "2.21.0",
    "cuda_build": True,
    "cuda": "12.5.1",
    "cudnn": "9",
    "gpus": 2,
    "packages": PACKAGES,
}
HOROVOD = {"horovod": "0.28.1", "nccl": 23203}
H100 = tuple(Gpu(i, "NVIDIA H100", f"GPU-{i}", 81559, (9, 0)) for i in range(2))
MACHINE = Inventory("570.86.15", (12, 8), H100, {(0, 1): "NVLink"})


def judged(
    machine: Inventory = MACHINE,
    *,
    driver: bool = True,
    visible: str | None = None,
    horovod: dict[str, Any] = HOROVOD,
    **tensorflow: Any,
) -> dict[str, tuple[str, str, str]]:
    findings = judge_gpus(machine, TENSORFLOW | tensorflow, horovod, driver_is_loaded=driver, visible=visible)
    assert all(finding.way_out for finding in findings if finding.level != "ok")
    return {finding.about: (finding.level, finding.found, finding.way_out) for finding in findings}


def test_a_machine_on_which_all_fits() -> None:
    found = judged()
    assert {level for level, *_ in found.values()} == {"ok"}
    assert found["driver"][1] == "570.86.15, which runs CUDA up to 12.8"
    assert found["GPUs"][1] == "2 x NVIDIA H100 (79.65 GiB, compute capability 9.0)"
    assert found["peer access"][1] == "NVLink between all"
    assert (
        found["CUDA"][1] == "TensorFlow is built for CUDA 12.5.1 and cuDNN 9; installed: cuDNN 9.28.0.42, NCCL 2.32.3"
    )
    assert found["usable GPUs"][1] == "2 of 2 visible GPUs"
    assert found["NCCL"][1] == "2.32.3, for gradients from GPU to GPU"


def test_a_machine_without_gpus_has_nothing_to_tell_in_an_environment_for_cpus() -> None:
    assert judged(Inventory(problem="x"), driver=False, cuda_build=False) == {}
    level, found, way_out = judged(Inventory(problem="x"), driver=False)["GPUs"]
    assert (level, found) == ("warning", "NVIDIA's driver is not loaded, so this environment for GPUs trains on CPUs")
    assert "525.60 or later" in way_out


def test_gpus_in_an_environment_for_cpus() -> None:
    found = judged(Inventory(problem="nvidia-ml-py is missing"), cuda_build=False)
    assert found == {
        "GPUs": (
            "warning",
            "NVIDIA's driver is loaded, and this TensorFlow is for CPUs",
            "To train on GPUs: make setup GPU=cuda",
        )
    }


def test_a_driver_that_is_too_old_or_silent() -> None:
    level, _, way_out = judged(replace(MACHINE, driver="470.82", cuda=(11, 4)))["driver"]
    assert level == "error"
    assert "TensorFlow 2.21 needs CUDA 12" in way_out
    assert judged(Inventory(problem="it does not answer"))["GPUs"][:2] == ("warning", "it does not answer")
    assert judged(replace(MACHINE, gpus=(), links={}))["GPUs"][:2] == ("error", "the driver lists none")


def test_gpus_that_are_hidden_or_too_old() -> None:
    level, found, _ = judged(visible="7", gpus=0)["GPUs"]
    assert level == "warning"
    assert found.endswith("CUDA_VISIBLE_DEVICES=7 shows 0 of them")
    assert "usable GPUs" not in judged(visible="7", gpus=0)
    old = replace(H100[1], name="Tesla K80", capability=(3, 7))
    level, _, way_out = judged(replace(MACHINE, gpus=(H100[0], old)))["GPUs"]
    assert level == "error"
    assert way_out.endswith("Leave out number 1: CUDA_VISIBLE_DEVICES=0")


def test_gpus_that_tensorflow_cannot_use() -> None:
    level, found, way_out = judged(gpus=0)["usable GPUs"]
    assert (level, found) == ("error", "0 of 2 visible GPUs")
    assert "list_physical_devices" in way_out
    assert judged(packages={})["CUDA"][0] == "warning"


@pytest.mark.parametrize(
    ("links", "level", "found"),
    [
        ({(0, 1): "PCIe"}, "ok", "PCIe between 0-1"),
        ({(0, 1): "NVLink", (0, 2): "PCIe"}, "ok", "PCIe between 0-2, NVLink between 0-1"),
        ({(0, 1): "NVLink", (0, 2): "none", (1, 2): "none"}, "warning", "none between 0-2, 1-2"),
    ],
)
def test_links_between_gpus(links: dict[tuple[int, int], str], level: str, found: str) -> None:
    assert judged(replace(MACHINE, links=links))["peer access"][:2] == (level, found)


def test_a_horovod_without_nccl() -> None:
    assert judged(horovod={"horovod": "0.28.1", "nccl": 0})["NCCL"][0] == "warning"
    assert "NCCL" not in judged(horovod={"error": "it is missing"})
    assert gpu_rules.nccl_version(23203) == "2.32.3"
    assert gpu_rules.nccl_version(2708) == "2.7.8"
