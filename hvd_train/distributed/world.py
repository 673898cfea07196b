"""World: the ranks of a run and what they can do together.

`HorovodWorld` where a launcher started several ranks, `SoloWorld` where this process is alone (no MPI is started).
Horovod is imported here and in `hvd_train.keras` alone. Every method says who must call it: **all ranks** means that
each rank calls it, in the same order, or the others wait until a limit ends the job.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hvd_train.config import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.placement import Placement
from hvd_train.errors import ConfigError, UserError
from hvd_train.events import Watch

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class World(ABC):
    """The ranks of one run, seen from one of them."""

    def __init__(self, placement: Placement, chosen: settings.Settings) -> None:
        self.placement = placement
        self.import_seconds = 0.0
        """For importing TensorFlow with Keras and starting Horovod; set by `open_world`."""
        self.init_seconds = 0.0
        """Of these, for starting Horovod, which waits for the last rank to come."""
        self.gpu: str | None = None
        """Name of this rank's own GPU."""
        self.settings = chosen
        self.watch = Watch()
        """The watch over the ranks, where `guarded` has begun one."""

    @property
    def rank(self) -> int:
        return self.placement.rank

    @property
    def size(self) -> int:
        return self.placement.size

    @property
    def is_root(self) -> bool:
        return self.placement.is_root

    @abstractmethod
    def allreduce_sum(self, array: np.ndarray) -> np.ndarray:
        """Element-wise sum of all ranks' float64 arrays of one shape. All ranks."""

    @abstractmethod
    def allgather(self, item: T) -> list[T]:
        """Every rank's (picklable) item, by rank. All ranks."""

    @abstractmethod
    def broadcast(self, item: T) -> T:
        """The root's (picklable) item. All ranks; what the others give is ignored."""

    @abstractmethod
    def broadcast_variables(self, variables: list[Any]) -> None:
        """Give every rank the root's values of these Keras variables. All ranks."""

    @abstractmethod
    def distribute(self, optimizer: Any, config: DistributedConfig | None = None) -> Any:
        """The Keras optimizer that averages gradients over all ranks before it applies them, as `config` says how."""

    @abstractmethod
    def gather_state(self, optimizer: Any) -> None:
        """Give every rank the whole state of an optimizer from `distribute`, before it is saved. All ranks."""

    @abstractmethod
    def close(self) -> None:
        """Leave the world in good order. All ranks, at the end of a run that went well."""

    def together(self, action: Callable[[], T], *, on: str = "all") -> T | None:
        """Run `action` on "all" ranks, on one "local root" a host, or on the "root". All ranks.

        Returns this rank's own result (None where it did not run); the root's, on every rank, for "root". A UserError
        on any rank is raised on every rank, so that none waits for another: the first by rank, with the host's name
        where the hosts do not agree.
        """
        result: T | None = None
        failure: UserError | None = None
        if on == "all" or (on == "local root" and self.placement.local_rank == 0) or (on == "root" and self.is_root):
            try:
                result = action()
            except UserError as error:
                failure = error
            except OSError as error:
                failure = UserError(f"{error.filename or 'A file'}: {error.strerror or error}.")
        outcomes = self.allgather((failure, self.placement.host))
        failed = [(error, host) for error, host in outcomes if error is not None]
        if failed:
            first, host = failed[0]
            hosts = {h for _, h in outcomes}
            if on != "root" and {h for _, h in failed} != hosts:
                raise type(first)(f"on host {host}: {first}")
            raise first
        return self.broadcast(result) if on == "root" else result


class SoloWorld(World):
    """One process, no MPI, no Horovod."""

    def allreduce_sum(self, array: np.ndarray) -> np.ndarray:
        return array.astype("float64")

    def allgather(self, item: T) -> list[T]:
        return [item]

    def broadcast(self, item: T) -> T:
        return item

    def broadcast_variables(self, variables: list[Any]) -> None:
        pass

    def distribute(self, optimizer: Any, config: DistributedConfig | None = None) -> Any:
        if config is not None and config.backward_passes_per_step > 1:
            raise ConfigError(
                f"backward_passes_per_step = {config.backward_passes_per_step} is for several ranks, which then send less often. "
                f"On one rank give a --global-batch-size that is so many times larger."
            )
        return optimizer

    def gather_state(self, optimizer: Any) -> None:
        pass

    def close(self) -> None:
        pass
