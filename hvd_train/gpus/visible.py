"""Which GPUs a process sees, and which of them is its own. Pure.

CUDA_VISIBLE_DEVICES is what a batch system, a container or a wrapper of the user restricts a process by. The local rank is
the launcher's. Both together give each rank its own:

    mpirun, horovodrun, several tasks in one srun    all ranks see all GPUs of the host, and the local rank chooses
    srun --gpus-per-task=1, a wrapper                each rank sees one, which is its own
"""

from __future__ import annotations

from collections.abc import Sequence

from hvd_train.gpus.inventory import Gpu

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(gpus: Sequence[Gpu], given: str | None) -> tuple[Gpu, ...]:
    """Those that CUDA shows a process under this CUDA_VISIBLE_DEVICES (None: it is not set), in CUDA's order.

    As CUDA reads it: numbers, or beginnings of UUIDs. What stands behind the first that does not exist is hidden, so
    "-1" and an empty text hide all.
    """
    if given is None:
        return tuple(gpus)
    seen: list[Gpu] = []
    for part in (part.strip() for part in given.split(",")):
        if part.isdecimal():
            found = [gpu for gpu in gpus if gpu.index == int(part)]
        else:
            found = [gpu for gpu in gpus if part and gpu.uuid.startswith(part)]
        if len(found) != 1 or found[0] in seen:
            break
        seen.append(found[0])
    return tuple(seen)


def own_index(num_visible: int, local_rank: int) -> int | None:
    """Which of the GPUs that it sees a rank takes. More ranks than GPUs share them in turn. None where it sees none."""
    return local_rank % num_visible if num_visible else None
