"""The engine of several ranks, joined by TensorFlow's own collectives. It needs neither MPI nor Horovod.

Each rank runs TensorFlow's server. On one host gradients are added in memory that the ranks share, and between hosts they go
around a ring over gRPC. The ring is what MultiWorkerMirroredStrategy
does, whose other half Keras 3 cannot use (docs/how-to/tensorflow-engine.md). Where each rank listens comes from the
launcher: TF_CONFIG, or the variables of srun.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import tensorflow as tf

from hvd_train.config import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.host_memory import HostMemory, join
from hvd_train.distributed.launchers import launcher_of
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.rendezvous import gathering
from hvd_train.distributed.tf.batch_norm import BatchNormalization
from hvd_train.distributed.tf.collectives import Collectives, is_loss_of_ranks
from hvd_train.distributed.tf.meeting import meet, require_free_port
from hvd_train.distributed.tf.optimizer import distribute
from hvd_train.distributed.timeouts import time_limit
from hvd_train.distributed.world import World
from hvd_train.errors import MissingEnvironment, RankFailure

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

END_TIMEOUT_S = 60.0
# What carries gradients, in the words of the log.
SHARED = "gradients are added in memory that the ranks share"
RING = "gradients go around a ring over gRPC"


class TensorFlowWorld(World):
    """The ranks that TF_CONFIG or srun describe."""

    engine = "tensorflow"

    def __init__(self, placement: Placement, chosen: settings.Settings, *, watchdog_s: float = 0.0) -> None:
        super().__init__(placement, chosen, watchdog_s=watchdog_s)
        cluster = launcher_of(placement).cluster(os.environ)
        self._closed = False
        require_free_port(cluster)
        started = time.monotonic()
        self._collectives = Collectives(cluster)
        meet(cluster, placement, watchdog_s=watchdog_s)
        with gathering(placement, "start", limit_s=watchdog_s):
            versions = self.allgather(tf.__version__)
            self._collectives.memory = self._join_memory()
        self.init_seconds = time.monotonic() - started
        if len(set(versions)) > 1:
            told = ", ".join(f"{version} on rank {rank}" for rank, version in enumerate(versions))
            raise MissingEnvironment(
                f"The ranks have different versions of TensorFlow: {told}. Install one of them on all hosts."
            )

    def _join_memory(self) -> HostMemory | None:
        """The memory that these ranks share, unless it is switched off. All ranks. The settings say what carries gradients."""
        wanted = all(self.allgather("shared-memory" not in self.settings.switched_off))
        memory = join(self.placement, self.allgather) if wanted else None
        told = SHARED if memory is not None else RING
        self.settings = replace(self.settings, notes=(*self.settings.notes, told))
        return memory

    def allreduce_sum(self, array: np.ndarray, *, name: str = "sum", dtype: str = "float64") -> np.ndarray:
        with self._others():
            return self._collectives.sum(array.astype(dtype))

    def allgather(self, item: T) -> list[T]:
        with self._others():
            return self._collectives.gather_objects(item)

    def broadcast(self, item: T) -> T:
        with self._others():
            received: T = self._collectives.broadcast_object(item)
        return received

    def broadcast_variables(self, variables: list[Any]) -> None:
        values = self.broadcast([variable.numpy() for variable in variables] if self.is_root else [])
        if not self.is_root:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def distribute(self, optimizer: Any, config: DistributedConfig | None = None) -> Any:
        return distribute(optimizer, config or DistributedConfig(), self._collectives)

    def batch_normalization(self, settings: dict[str, Any]) -> Any:
        return BatchNormalization(self._collectives, **settings)

    def gather_state(self, optimizer: Any) -> None:
        pass  # every rank has all of it

    def has_lost_ranks(self, error: BaseException) -> bool:
        return is_loss_of_ranks(error)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with time_limit(END_TIMEOUT_S, "the other ranks to end", who=str(self.placement)):
            self._collectives.leave()

    @contextlib.contextmanager
    def _others(self) -> Iterator[None]:
        """A block that waits for the other ranks: where one has gone, the error says so."""
        try:
            yield
        except Exception as error:
            if not is_loss_of_ranks(error):
                raise
            raise RankFailure(
                f"{self.placement} lost the connection to another rank, which has ended or cannot be reached."
            ) from None
