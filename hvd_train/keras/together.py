"""One fit() and the ranks that take part in it: who they are, what they gave, where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as _horovod
import keras
import numpy as np
import tensorflow as tf
from horovod.tensorflow.functions import allgather_object

from hvd_train.keras import hooks


class TrainingMismatchError(ValueError):
    """The ranks do not train alike: callbacks, steps, epoch, learning rate, the end. Raised alike on every rank."""


class Together:
    """One fit() of this rank, and the ranks that it is compared with."""

    def __init__(self, callbacks: keras.callbacks.CallbackList) -> None:
        self.callbacks = callbacks
        self.process_set: Any = None
        """None: this rank is not compared with others."""
        self.distributed = False
        self.all_built = True
        self.gathers = False
        """Whether the state of a sharded optimizer is brought together for a callback that saves."""

    @property
    def model(self) -> Any:
        return self.callbacks.model

    def ours(self) -> list[Any]:
        """The callbacks that every rank must have, because they communicate."""
        return [c for c in self.callbacks.callbacks if getattr(c, "hvd_communicates", False)]

    def broadcast(self) -> Any | None:
        """The BroadcastGlobalVariablesCallback, if there is one."""
        return next((c for c in self.ours() if hasattr(c, "root_rank")), None)

    def ranks(self) -> list[int]:
        return list(self.process_set.ranks or range(_horovod.size()))

    def choose_ranks(self) -> None:
        reductions = [o.hvd_state.reduction for o in hooks.distributed_in(self.model.optimizer)]
        self.distributed = any(r.needs_communication() for r in reductions)
        if self.ours():
            self.process_set = _horovod.global_process_set
        else:
            self.process_set = next((r.process_set for r in reductions if r.needs_communication()), None)

    def gather(self, what: Any, name: str) -> list[Any]:
        return list(allgather_object(what, name=f"hvd_train.keras.{name}", process_set=self.process_set))

    def gather_row(self, row: Sequence[float], name: str) -> np.ndarray[Any, Any]:
        """(k,) numbers of each rank -> (ranks, k), exact for float64 and for integers below 2**53."""
        mine = tf.constant([row], tf.float64)
        gathered = _horovod.allgather(mine, name=f"hvd_train.keras.{name}", process_set=self.process_set)
        return np.asarray(gathered)

    def require_alike(self, values: Sequence[Any], words: str, advice: str) -> None:
        """Raise TrainingMismatchError unless all `values`, one per rank, are equal. None agrees with everything."""
        if len({v for v in values if v is not None}) > 1:
            raise TrainingMismatchError(f"{words} {by_value(values, self.ranks())}. {advice}")


def by_value(values: Sequence[Any], ranks: Sequence[int]) -> str:
    """Which ranks have which value, in words."""
    having: dict[Any, list[int]] = {}
    for rank, value in zip(ranks, values, strict=True):
        having.setdefault(value, []).append(rank)
    return ", ".join(f"{value} on ranks {who}" for value, who in having.items())
