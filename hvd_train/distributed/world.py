"""World: the ranks of a run and what they can do together. Its engines are listed in `engines.py`.

Every method says who must call it. **All ranks** means that each rank calls it, in the same order. Otherwise the others
wait until a time limit ends the job.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hvd_train.config import DistributedConfig
from hvd_train.distributed import settings
from hvd_train.distributed.failure import end_block, end_continued, ending_of
from hvd_train.distributed.placement import Placement
from hvd_train.errors import ToBeContinued, UserError
from hvd_train.events import Watch
from hvd_train.gpus import Carrier, GpuOfRank

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

T = TypeVar("T")


class World(ABC):
    """The ranks of one run, seen from one of them. Made by `open_world`.

    `with open_world() as world:` closes it at the end of the block. Where the block raises on one of several ranks, that
    process writes the error and ends, and so does the job: code after the block does not run. On one rank the exception
    goes on as usual.
    """

    engine: ClassVar[str]
    """Its name in ENGINES."""

    def __init__(self, placement: Placement, chosen: settings.Settings, *, watchdog_s: float = 0.0) -> None:
        """All ranks. `watchdog_s` limits the wait for ranks that do not come, where the engine waits for them."""
        self.placement = placement
        self.import_seconds = 0.0
        """For importing TensorFlow with Keras and starting Horovod; set by `open_world`."""
        self.init_seconds = 0.0
        """Of these, for starting Horovod, which waits for the last rank to come."""
        self.gpu: str | None = None
        """Name of this rank's own GPU."""
        self.gpu_memory_mb: int | None = None
        """Memory that this rank may take of it, in MiB; None where it has none, or that is unknown."""
        self.for_gpus = False
        """Whether this TensorFlow computes on GPUs, where there are some; set by `open_world`."""
        self.carrier: Carrier | None = None
        """What carries gradients; None where nothing has to, and where another engine than Horovod does."""
        self.settings = chosen
        self.watch = Watch()
        """The watch over the ranks, where `guarded` has begun one."""

    @property
    def rank(self) -> int:
        """From 0; unique in the run."""
        return self.placement.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.placement.size

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.placement.is_root

    def meet_gpus(self, own: GpuOfRank) -> None:  # noqa: B027  (most engines have nothing to choose)
        """Learn which GPUs the other ranks have, and choose what carries gradients. All ranks. Called by `open_world`."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` has ended it for good."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ToBeContinued) and self.size > 1:
            end_continued(self.placement, error, self.close)
        if error is not None:
            ending = ending_of(error, self.placement)
            if ending.code:
                end_block(self.placement, ending)
                return
        self.close()

    @abstractmethod
    def allreduce_sum(self, array: np.ndarray, *, name: str = "sum", dtype: str = "float64") -> np.ndarray:
        """The element-wise sum over ranks, added in `dtype`. All ranks, with arrays of one shape. A `name` for each shape is faster."""

    @abstractmethod
    def allgather(self, item: T) -> list[T]:
        """The item of each rank, in the order of ranks. All ranks, each with an item that can be pickled."""

    @abstractmethod
    def broadcast(self, item: T) -> T:
        """The item of the root, on every rank. All ranks. The root's item must be picklable, the others' are ignored."""

    @abstractmethod
    def broadcast_variables(self, variables: list[Any]) -> None:
        """Give every rank the root's values of these Keras variables. All ranks."""

    @abstractmethod
    def distribute(self, optimizer: Any, config: DistributedConfig | None = None) -> Any:
        """The Keras optimizer, changed to average the gradients over ranks before it applies them. All ranks.

        `config` says how. Raises ConfigError for a setting that the engine does not have.
        """

    @abstractmethod
    def batch_normalization(self, settings: dict[str, Any]) -> Any:
        """keras.layers.BatchNormalization of these settings, with the statistics of the global batch in training.

        All ranks, and in training all ranks call it.
        """

    @abstractmethod
    def gather_state(self, optimizer: Any) -> None:
        """Give every rank the whole state of an optimizer from `distribute`, before it is saved. All ranks."""

    def has_lost_ranks(self, error: BaseException) -> bool:
        """Whether the engine says by this error that another rank has ended or cannot be reached."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Leave in good order. All ranks, at the end of a run that went well. A second call does nothing."""

    def together(self, action: Callable[[], T], *, on: str = "all") -> T | None:
        """Run `action` on "all" ranks, on one "local root" a host, or on the "root". All ranks.

        Returns this rank's own result (None where it did not run); the root's, on every rank, for "root". A UserError or
        ToBeContinued on any rank is raised on every rank, so that none waits for another: the first by rank, with the host's
        name where the hosts do not agree.
        """
        result: T | None = None
        failure: UserError | ToBeContinued | None = None
        if on == "all" or (on == "local root" and self.placement.local_rank == 0) or (on == "root" and self.is_root):
            try:
                result = action()
            except (UserError, ToBeContinued) as error:
                failure = error
            except OSError as error:
                failure = UserError(f"{error.filename or 'A file'}: {error.strerror or error}.")
        outcomes = self.allgather((failure, self.placement.host))
        failed = [(error, host) for error, host in outcomes if error is not None]
        if failed:
            first, host = failed[0]
            hosts = {h for _, h in outcomes}
            if isinstance(first, ToBeContinued):
                raise first
            if on != "root" and {h for _, h in failed} != hosts:
                raise type(first)(f"on host {host}: {first}")
            raise first
        return self.broadcast(result) if on == "root" else result
