"""The engine of several ranks, joined by Horovod, which is imported here and in `hvd_train.keras` alone."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hvd_train.config import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.allreduce import IN_TWO_LEVELS, SHARED, groups_for, in_its_place
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.rendezvous import gathering
from hvd_train.distributed.timeouts import time_limit
from hvd_train.distributed.world import World
from hvd_train.errors import MissingEnvironment
from hvd_train.gpus import GpuOfRank, choose_carrier
from hvd_train.horovod_build import SHARED_MEMORY, TWO_LEVELS

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

END_TIMEOUT_S = 60.0
# Of the measurement of the links between hosts, which takes 0.4 s at 100 Mbit/s.
PROBE_BYTES, NUM_PROBES = 2**20, 4
HOST = "/CPU:0"

HOW_TO_GET_HOROVOD = (
    "Build and install it with `hvd-train horovod install`, or with `make setup` in a checkout of hvd_train; "
    "one rank alone trains without it."
)


class HorovodWorld(World):
    """The ranks that horovodrun, mpirun or srun started."""

    engine = "horovod"

    def __init__(self, placement: Placement, chosen: settings.Settings, *, watchdog_s: float = 0.0) -> None:
        super().__init__(placement, chosen, watchdog_s=watchdog_s)
        try:
            import horovod.tensorflow as hvd
        except ImportError as error:
            raise MissingEnvironment(
                f"{placement.size} ranks were started, but Horovod cannot be loaded here ({error}). {HOW_TO_GET_HOROVOD}"
            ) from None
        with gathering(placement, "start", limit_s=watchdog_s):
            started = time.monotonic()
            hvd.init()
            self.init_seconds = time.monotonic() - started
        if (hvd.rank(), hvd.size()) != (placement.rank, placement.size):
            raise MissingEnvironment(
                f"{placement.launcher} started this process as rank {placement.rank} of {placement.size}, but Horovod sees rank {hvd.rank()} of "
                f"{hvd.size()}: it was built with another MPI than the one that launches. `hvd-train doctor` names both."
            )
        self._hvd = hvd

    def meet_gpus(self, own: GpuOfRank) -> None:
        has_nccl = bool(self._hvd.nccl_built())
        # In an environment for CPUs there is nothing to ask. It is the same on all hosts.
        gpus = self.allgather(own) if has_nccl or self.for_gpus else [own] * self.size
        self.carrier = choose_carrier(gpus, has_nccl=has_nccl, memory="".join(self.between_memories))

    @functools.cached_property
    def between_memories(self) -> tuple[str, str]:
        """What carries gradients that are in the hosts' memory, where their kind allows it, and why nothing faster does. All ranks."""
        from horovod.tensorflow import mpi_ops

        one_host = self.placement.local_size == self.size
        # Elements of a block of what is open (hvd_train/horovod_build/patches), alike on all ranks. Another Horovod has nothing.
        block = getattr(mpi_ops._basics.MPI_LIB_CTYPES, "horovod_shared_memory_block", None)
        if block is not None and block(self.size) > 0:
            return SHARED if one_host else IN_TWO_LEVELS, ""
        asked = self.allgather(os.environ.get(SHARED_MEMORY if one_host else TWO_LEVELS) == "1")
        return in_its_place(asked, one_host=one_host, other=self._other)

    @property
    def _other(self) -> str:
        """What carries what goes neither through shared memory nor in two levels."""
        by_gloo = os.environ.get("HOROVOD_CPU_OPERATIONS", "").lower() == "gloo" or not self._hvd.mpi_enabled()
        return "Gloo" if by_gloo else "MPI"

    def _on_host(self) -> Any:
        """Where what is in the host's memory anyway is exchanged: with a GPU it would go there and back, and over NCCL."""
        if self.gpu is None:
            return contextlib.nullcontext()
        import tensorflow as tf

        return tf.device(HOST)

    def allreduce_sum(self, array: np.ndarray, *, name: str = "sum", dtype: str = "float64") -> np.ndarray:
        with self._on_host():
            total = self._hvd.allreduce(array.astype(dtype), op=self._hvd.Sum, name=f"hvd_train.{name}")
        return cast("np.ndarray", total.numpy())

    def allgather(self, item: T) -> list[T]:
        with self._on_host():
            return list(self._hvd.allgather_object(item, name="hvd_train.gather"))

    def broadcast(self, item: T) -> T:
        with self._on_host():
            received: T = self._hvd.broadcast_object(item, root_rank=0, name="hvd_train.broadcast")
        return received

    def broadcast_variables(self, variables: list[Any]) -> None:
        from hvd_train import keras as hvd_keras

        with self._on_host():
            hvd_keras.broadcast_variables(variables, root_rank=0)

    def distribute(self, optimizer: Any, config: DistributedConfig | None = None) -> Any:
        from hvd_train import keras as hvd_keras

        config = config or DistributedConfig()
        has_gpus = self.carrier is not None and self.carrier.has_gpus
        staged = self.gpu is not None and self.carrier is not None and self.carrier.on_host
        groups = config.gradient_groups or (1 if has_gpus else self._groups(config))
        if config.compression != "none" and self.carrier is not None and self.carrier.on_host:
            # Shared memory and two levels add numbers of 32 and 64 bits.
            text = self.carrier.text.replace(self.between_memories[0], f"{self._other}, in numbers of 16 bits")
            self.carrier = replace(self.carrier, text=text)
        return hvd_keras.DistributedOptimizer(
            optimizer,
            compression=getattr(hvd_keras.Compression, config.compression),
            backward_passes_per_step=config.backward_passes_per_step,
            average_aggregated_gradients=True,
            groups=groups,
            # One rank with a GPU could not, and the others would wait for it.
            share_update="shared-update" in config.automatic and not has_gpus,
            device_dense=HOST if staged else "",
            device_sparse=HOST if staged else "",
            may_round=config.wire_precision != "float32",
        )

    def batch_normalization(self, settings: dict[str, Any]) -> Any:
        from hvd_train import keras as hvd_keras

        return hvd_keras.SyncBatchNormalization.from_config(settings)

    def _groups(self, config: DistributedConfig) -> int:
        """In how many groups gradients leave. All ranks: they measure the links between the hosts, the first time."""
        if self.placement.local_size == self.size or "two-levels" not in config.automatic:
            return 1
        number = groups_for(self.gbit_per_s)
        if self.carrier is not None:
            how = "one group" if number == 1 else f"{number} groups"
            carrier, why = self.between_memories
            self.carrier = replace(self.carrier, text=f"{carrier} ({self.gbit_per_s:.1f} Gbit/s), in {how}{why}")
        return number

    @functools.cached_property
    def gbit_per_s(self) -> float:
        """What each host sends while all ranks add up numbers, the best of a few times. Alike on all ranks, which all must ask."""
        import numpy as np

        numbers, seconds = np.ones(PROBE_BYTES // 4, np.float32), []
        for _ in range(NUM_PROBES):
            began = time.perf_counter()
            self.allreduce_sum(numbers, name="links", dtype="float32")
            seconds.append(time.perf_counter() - began)
        hosts = max(2, round(self.size / self.placement.local_size))
        rate = 2 * (hosts - 1) / hosts * PROBE_BYTES * 8 / min(seconds) / 1e9
        return self.broadcast(rate)

    def gather_state(self, optimizer: Any) -> None:
        with self._on_host():
            optimizer.hvd_gather_state()

    @property
    def is_closed(self) -> bool:
        return not self._hvd.is_initialized()

    def close(self) -> None:
        if self.is_closed:
            return
        with time_limit(END_TIMEOUT_S, "the other ranks to end", who=str(self.placement)):
            self._hvd.shutdown()
