"""The doctor's judgement of GPUs: driver, CUDA, cuDNN, NCCL, the GPUs, the links between them, and what does not fit. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hvd_train.doctor.rules import Finding
from hvd_train.gpus import Inventory, visible_gpus
from hvd_train.text import MIB, memory

# What the packages of requirements/gpu.txt need.
OLDEST_CUDA, OLDEST_DRIVER, OLDEST_CAPABILITY = (12, 0), "525.60", (6, 0)
FOR_GPUS, FOR_CPUS = "make setup GPU=cuda", "make setup"


def judge_gpus(
    inventory: Inventory,
    tensorflow: dict[str, Any],
    horovod: dict[str, Any],
    *,
    driver_is_loaded: bool,
    visible: str | None,
) -> list[Finding]:
    """All that is to be said about GPUs: nothing on a machine without any, in an environment for CPUs.

    `tensorflow` and `horovod` are the answers of the probes, `visible` is CUDA_VISIBLE_DEVICES.
    """
    for_gpus = bool(tensorflow.get("cuda_build"))
    if not driver_is_loaded:
        if not for_gpus:
            return []
        found = "NVIDIA's driver is not loaded, so this environment for GPUs trains on CPUs"
        way_out = f"Install driver {OLDEST_DRIVER} or later. On a machine without GPUs the environment of `{FOR_CPUS}` does the same."
        told = [Finding("warning", "GPUs", found, way_out), judge_cuda(tensorflow), judge_nccl(horovod)]
        return [finding for finding in told if finding is not None]
    if not for_gpus and "error" not in tensorflow:
        found = "NVIDIA's driver is loaded, and this TensorFlow is for CPUs"
        return [Finding("warning", "GPUs", found, f"To train on GPUs: {FOR_GPUS}")]
    if inventory.problem:
        way_out = f"Try nvidia-smi. The package belongs to the environment of `{FOR_GPUS}`."
        return [Finding("warning", "GPUs", inventory.problem, way_out)]
    findings = [judge_driver(inventory), judge_devices(inventory, visible), judge_links(inventory)]
    if "error" not in tensorflow:
        findings += [judge_cuda(tensorflow), judge_used(inventory, tensorflow, visible)]
    findings.append(judge_nccl(horovod))
    return [finding for finding in findings if finding is not None]


def judge_driver(inventory: Inventory) -> Finding:
    newest = "{}.{}".format(*inventory.cuda)
    found = f"{inventory.driver}, which runs CUDA up to {newest}"
    if inventory.cuda < OLDEST_CUDA:
        way_out = (
            f"TensorFlow 2.21 needs CUDA 12: install driver {OLDEST_DRIVER} or later, or train on CPUs ({FOR_CPUS})."
        )
        return Finding("error", "driver", found, way_out)
    return Finding("ok", "driver", found)


def judge_devices(inventory: Inventory, visible: str | None) -> Finding:
    """The GPUs by kind, how many a process sees, and those that are too old."""
    if not inventory.gpus:
        return Finding(
            "error", "GPUs", "the driver lists none", "Look at `nvidia-smi` and at what the kernel reports (dmesg)."
        )
    kinds = Counter((gpu.name, gpu.memory_mb, gpu.capability) for gpu in inventory.gpus)
    found = ", ".join(
        f"{count} x {name} ({memory(memory_mb * MIB)}, compute capability {capability[0]}.{capability[1]})"
        for (name, memory_mb, capability), count in kinds.items()
    )
    seen = visible_gpus(inventory.gpus, visible)
    if visible is not None:
        found += f"; CUDA_VISIBLE_DEVICES={visible} shows {len(seen)} of them"
    if not seen:
        return Finding(
            "warning", "GPUs", found, "Unset CUDA_VISIBLE_DEVICES, or name GPUs that exist, to train on them."
        )
    if old := [gpu for gpu in seen if gpu.capability < OLDEST_CAPABILITY]:
        numbers = ",".join(str(gpu.index) for gpu in seen if gpu not in old)
        way_out = f"TensorFlow needs 6.0 or more. Leave out number {', '.join(str(gpu.index) for gpu in old)}: CUDA_VISIBLE_DEVICES={numbers or '-1'}"
        return Finding("error", "GPUs", found, way_out)
    return Finding("ok", "GPUs", found)


def judge_links(inventory: Inventory) -> Finding | None:
    """By what GPUs read each other's memory. None where there is one GPU or none."""
    if not inventory.links:
        return None
    pairs = {
        kind: [f"{a}-{b}" for (a, b), of in inventory.links.items() if of == kind]
        for kind in ("NVLink", "PCIe", "none")
    }
    if len(pairs["none"]) == 0:
        found = "NVLink between all" if not pairs["PCIe"] else f"PCIe between {', '.join(pairs['PCIe'])}"
        found += f", NVLink between {', '.join(pairs['NVLink'])}" if pairs["PCIe"] and pairs["NVLink"] else ""
        return Finding("ok", "peer access", found)
    way_out = (
        "NCCL copies through the host's memory there, which is slower. In a virtual machine or with IOMMU this may be meant; "
        "under Slurm try --gpu-bind=none."
    )
    return Finding("warning", "peer access", f"none between {', '.join(pairs['none'])}", way_out)


def judge_cuda(tensorflow: dict[str, Any]) -> Finding:
    """What TensorFlow was built with, and what is installed."""
    found = f"TensorFlow is built for CUDA {tensorflow.get('cuda', '?')} and cuDNN {tensorflow.get('cudnn', '?')}"
    packages: dict[str, str] = tensorflow.get("packages", {})
    if not packages:
        way_out = f"Its libraries must be on LD_LIBRARY_PATH then. `{FOR_GPUS}` installs them as packages."
        return Finding("warning", "CUDA", f"{found}; no packages of NVIDIA are installed", way_out)
    return Finding(
        "ok", "CUDA", f"{found}; installed: " + ", ".join(f"{name} {version}" for name, version in packages.items())
    )


def judge_used(inventory: Inventory, tensorflow: dict[str, Any], visible: str | None) -> Finding | None:
    """Whether TensorFlow can use the GPUs that it sees. None where it sees none: another finding reports that."""
    seen, used = len(visible_gpus(inventory.gpus, visible)), int(tensorflow.get("gpus", 0))
    if not seen:
        return None
    found = f"{used} of {seen} visible GPUs"
    if used < seen:
        way_out = (
            "A library is missing or too old for the driver. This names it: python -c 'import tensorflow as tf; "
            'tf.config.list_physical_devices("GPU")\''
        )
        return Finding("error", "usable GPUs", found, way_out)
    return Finding("ok", "usable GPUs", found)


def judge_nccl(horovod: dict[str, Any]) -> Finding | None:
    """Whether gradients go from GPU to GPU. None without Horovod: another finding reports that."""
    if "error" in horovod:
        return None
    code = int(horovod.get("nccl") or 0)
    if not code:
        found = "Horovod was built without NCCL, so gradients go by way of the host's memory"
        return Finding("warning", "NCCL", found, FOR_GPUS)
    return Finding("ok", "NCCL", f"{nccl_version(code)}, for gradients from GPU to GPU")


def nccl_version(code: int) -> str:
    """The version in NCCL's number.

    >>> nccl_version(23203), nccl_version(2708)
    ('2.32.3', '2.7.8')
    """
    thousands = 10_000 if code >= 10_000 else 1_000
    return f"{code // thousands}.{code % thousands // 100}.{code % 100}"
