"""The engine of one process: no MPI, no Horovod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hvd_train.config import DistributedConfig
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class SoloWorld(World):
    """One rank. Every collective is the identity."""

    engine = "solo"

    def allreduce_sum(self, array: np.ndarray, *, name: str = "sum", dtype: str = "float64") -> np.ndarray:
        return array.astype(dtype)

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

    def batch_normalization(self, settings: dict[str, Any]) -> Any:
        import keras

        return keras.layers.BatchNormalization(**settings)

    def gather_state(self, optimizer: Any) -> None:
        pass

    def close(self) -> None:
        pass
