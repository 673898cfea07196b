"""What carries gradients from rank to rank: NCCL between GPUs, or MPI and shared memory from the hosts' memory. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuOfRank:
    """The GPU of one rank. `identity` tells the GPUs of a host apart, and is empty where the rank has none."""

    host: str
    identity: str = ""
    name: str = ""
    memory_mb: int | None = None


@dataclass(frozen=True)
class Carrier:
    """`on_host`: gradients leave the GPUs for it. `text` says what it is, and why, for the log.

    `has_gpus`: a rank has a GPU. Then no rank may do what all do together on CPUs alone.
    """

    on_host: bool
    text: str
    has_gpus: bool = True


def choose_carrier(ranks: Sequence[GpuOfRank], *, has_nccl: bool, memory: str = "MPI") -> Carrier:
    """The carrier for these ranks, alike on all of them.

    `has_nccl`: Horovod was built with it. `memory`: what carries them between the memories of ranks and hosts, in words.
    NCCL wants a GPU for each rank, and refuses two ranks on one GPU. Nor can some ranks send from GPUs and others not.
    """
    with_gpu = [rank for rank in ranks if rank.identity]
    if not with_gpu:
        return Carrier(True, memory, has_gpus=False)
    staged = f"{memory}, by way of the hosts' memory"
    if not has_nccl:
        return Carrier(True, f"{staged}: this Horovod was built without NCCL (make setup GPU=cuda)")
    if len(with_gpu) < len(ranks):
        without = sorted({rank.host for rank in ranks if not rank.identity})
        return Carrier(
            True, f"{staged}: {len(ranks) - len(with_gpu)} of {len(ranks)} ranks have no GPU ({', '.join(without)})"
        )
    if shared := shared_gpus(ranks):
        host, identity, sharing = shared[0]
        name = next(rank.name for rank in ranks if (rank.host, rank.identity) == (host, identity))
        others = f", and so do ranks of {len(shared) - 1} other GPUs" if len(shared) > 1 else ""
        return Carrier(
            True,
            f"{staged}: ranks {', '.join(map(str, sharing))} share one GPU ({name or identity} of {host}){others}, which NCCL "
            "refuses. Start as many ranks as there are GPUs",
        )
    return Carrier(False, "NCCL, from GPU to GPU")


def shared_gpus(ranks: Sequence[GpuOfRank]) -> list[tuple[str, str, list[int]]]:
    """The GPUs of more than one rank: host, identity, ranks."""
    users: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, rank in enumerate(ranks):
        if rank.identity:
            users[rank.host, rank.identity].append(number)
    return [(host, identity, numbers) for (host, identity), numbers in users.items() if len(numbers) > 1]
