"""The check that all ranks hold the same weights, bit for bit."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from hvd_train.distributed import World
from hvd_train.errors import HvdTrainError


def weights_digest(variables: list[Any]) -> str:
    """A hash of the bytes of these variables."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def require_equal_weights(world: World, variables: list[Any]) -> None:
    """HvdTrainError naming the ranks whose weights differ from those of the root by a single bit. All ranks."""
    digests = world.allgather(weights_digest(variables))
    drifted = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if drifted:
        raise HvdTrainError(
            f"The weights of rank{'s' if len(drifted) > 1 else ''} {', '.join(map(str, drifted))} differ from rank 0's: gradients "
            f"were not averaged alike. This is a defect; please report it with the run's config.toml and report.json."
        )
