"""World: the ranks of a run and what they can do together.

`HorovodWorld` where a launcher started several ranks, `SoloWorld` where this process is alone (no MPI is started).
Horovod is imported here and in `hvd_train.keras` alone. Every method says who must call it: **all ranks** means that
each rank calls it, in the same order, or the others wait until a limit ends the job.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hvd_train import settings
from hvd_train.config import DistributedConfig, TrainingConfig
from hvd_train.cores import read_machine
from hvd_train.devices import take_own_gpu
from hvd_train.errors import ConfigError, MissingEnvironment, UserError
from hvd_train.horovod_build import added_variables
from hvd_train.launch.gathering import gathering
from hvd_train.launch.orphan import watch_horovodrun
from hvd_train.limits import time_limit
from hvd_train.ranks import Place, place_from
from hvd_train.watch import Watch

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

END_TIMEOUT_S = 60.0
DEFAULT_WATCHDOG_S = TrainingConfig().watchdog_s

HOW_TO_GET_HOROVOD = (
    "Run `make setup` in a checkout of hvd_train, which builds Horovod and installs Open MPI, and use that environment; "
    "one rank alone trains without it."
)


class World(ABC):
    """The ranks of one run, seen from one of them."""

    def __init__(self, place: Place, chosen: settings.Settings) -> None:
        self.place = place
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
        return self.place.rank

    @property
    def size(self) -> int:
        return self.place.size

    @property
    def is_root(self) -> bool:
        return self.place.is_root

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
        if on == "all" or (on == "local root" and self.place.local_rank == 0) or (on == "root" and self.is_root):
            try:
                result = action()
            except UserError as error:
                failure = error
            except OSError as error:
                failure = UserError(f"{error.filename or 'A file'}: {error.strerror or error}.")
        outcomes = self.allgather((failure, self.place.host))
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


class HorovodWorld(World):
    """The ranks that horovodrun, mpirun or srun started. `watchdog_s` limits the wait for ranks that do not come."""

    def __init__(self, place: Place, chosen: settings.Settings, *, watchdog_s: float) -> None:
        super().__init__(place, chosen)
        try:
            import horovod.tensorflow as hvd
        except ImportError as error:
            raise MissingEnvironment(
                f"{place.size} ranks were started, but Horovod cannot be loaded here ({error}). {HOW_TO_GET_HOROVOD}"
            ) from None
        with gathering(place, "start", limit_s=watchdog_s):
            started = time.monotonic()
            hvd.init()
            self.init_seconds = time.monotonic() - started
        if (hvd.rank(), hvd.size()) != (place.rank, place.size):
            raise MissingEnvironment(
                f"{place.launcher} started this process as rank {place.rank} of {place.size}, but Horovod sees rank {hvd.rank()} of "
                f"{hvd.size()}: it was built with another MPI than the one that launches. `hvd-train doctor` names both."
            )
        self._hvd = hvd

    def allreduce_sum(self, array: np.ndarray) -> np.ndarray:
        total = self._hvd.allreduce(array.astype("float64"), op=self._hvd.Sum, name="hvd_train.sum")
        return cast("np.ndarray", total.numpy())

    def allgather(self, item: T) -> list[T]:
        return list(self._hvd.allgather_object(item, name="hvd_train.gather"))

    def broadcast(self, item: T) -> T:
        received: T = self._hvd.broadcast_object(item, root_rank=0, name="hvd_train.broadcast")
        return received

    def broadcast_variables(self, variables: list[Any]) -> None:
        from hvd_train import keras as hvd_keras

        hvd_keras.broadcast_variables(variables, root_rank=0)

    def distribute(self, optimizer: Any, config: DistributedConfig | None = None) -> Any:
        from hvd_train import keras as hvd_keras

        config = config or DistributedConfig()
        return hvd_keras.DistributedOptimizer(
            optimizer,
            compression=getattr(hvd_keras.Compression, config.compression),
            backward_passes_per_step=config.backward_passes_per_step,
            average_aggregated_gradients=True,
            groups=None if config.gradient_groups == 1 else config.gradient_groups,
            share_update="shared-update" in config.automatic,
        )

    def gather_state(self, optimizer: Any) -> None:
        optimizer.hvd_gather_state()

    def close(self) -> None:
        with time_limit(END_TIMEOUT_S, "the other ranks to end", who=str(self.place)):
            self._hvd.shutdown()


def open_world(
    config: DistributedConfig | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    watchdog_s: float = DEFAULT_WATCHDOG_S,
) -> World:
    """The world that this process was started in, with the settings that `config` wants.

    All ranks; call it before anything imports TensorFlow. A rank that does not come ends the job after about `watchdog_s`.
    """
    environment = os.environ if environment is None else environment
    place = place_from(environment)
    if place.launcher and place.local_rank == 0:
        watch_horovodrun()
    prefix = sys.prefix if (Path(sys.prefix) / "lib" / "libmpi.so.40").exists() else ""
    # Before numpy: its BLAS starts its threads on import, and those poll for work on this rank's core.
    added = added_variables() if place.size > 1 else frozenset()
    chosen = settings.choose(place, read_machine(), environment, prefix=prefix, added=added, config=config)
    settings.apply(chosen)
    # The layers here are TensorFlow's, whatever the user's other projects run on; goes before ~/.keras/keras.json.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    started = time.monotonic()
    with quiet_stderr():
        import keras  # noqa: F401  (TensorFlow loads it late; its second belongs here, not to the first step)
        import tensorflow as tf
    own_gpu = take_own_gpu(tf.config, place.local_rank)
    if chosen.num_threads is not None and settings.INTER_OP in chosen.variables:
        tf.config.threading.set_intra_op_parallelism_threads(chosen.num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    # Its warnings are for authors of graphs: an ensemble traces one for each of its members, and means to.
    tf.get_logger().setLevel("ERROR")
    world: World = HorovodWorld(place, chosen, watchdog_s=watchdog_s) if place.size > 1 else SoloWorld(place, chosen)
    world.gpu = own_gpu.name if own_gpu is not None else None
    world.import_seconds = time.monotonic() - started
    return world


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what libraries write to the standard error while they load; show it if the block fails.

    TensorFlow announces its CPU features on import whatever its log level is, once per rank.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
