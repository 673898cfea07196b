"""What an evaluation needs of the ranks: `hvd_train.distributed.World` has it. So nothing here loads TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

T = TypeVar("T")


class Ranks(Protocol):
    """The ranks of a run, seen from one of them. All ranks call each method together."""

    def allreduce_sum(self, array: np.ndarray) -> np.ndarray: ...

    def allgather(self, item: Any) -> list[Any]: ...

    def together(self, action: Callable[[], T]) -> T | None: ...
