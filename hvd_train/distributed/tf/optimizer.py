"""The optimizer of the engine tensorflow: its `apply` averages the gradients over the ranks first, in a few packed tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from hvd_train.config import DistributedConfig
from hvd_train.distributed.tf.collectives import Collectives
from hvd_train.errors import ConfigError

# Fields of DistributedConfig that only Horovod and MPI have.
OF_HOROVOD = (
    "cycle_time_ms",
    "fusion_threshold_mb",
    "allreduce",
    "wire_precision",
    "autotune",
    "backward_passes_per_step",
)
OTHER_WIRE = {"fp16": tf.float16}


def distribute(optimizer: Any, config: DistributedConfig, collectives: Collectives) -> Any:
    """Change this Keras optimizer so that it averages. It keeps its class, so it is saved as it was.

    Raises ConfigError for a setting that this engine does not have.
    """
    for name in OF_HOROVOD:
        value, default = getattr(config, name), getattr(DistributedConfig(), name)
        if value != default:
            raise ConfigError(
                f"{name} = {value!r} is a setting of --engine horovod. Leave it out with --engine tensorflow."
            )
    apply = optimizer.apply
    wire = OTHER_WIRE.get(config.compression)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def apply_average(grads: Iterable[Any], trainable_variables: Any = None) -> Any:
        averaged = average(list(grads), collectives, num_groups=config.gradient_groups or 1, wire=wire)
        return apply(averaged, trainable_variables)

    # Past Keras' own __setattr__, which would take it for state.
    object.__setattr__(optimizer, "apply", apply_average)
    return optimizer


def average(
    gradients: Sequence[Any], collectives: Collectives, *, num_groups: int = 1, wire: tf.DType | None = None
) -> list[Any]:
    """The gradients averaged over the ranks, in the order given. None stays None; rows of an embedding become full tensors."""
    result: list[Any] = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
    present = [index for index, gradient in enumerate(result) if gradient is not None]
    for number, members in enumerate(_groups(present, num_groups)):
        by_type: dict[tf.DType, list[int]] = {}
        for index in members:
            by_type.setdefault(result[index].dtype, []).append(index)
        for dtype, indices in by_type.items():
            packed = tf.concat([tf.reshape(result[index], [-1]) for index in indices], 0)
            sent = tf.cast(packed, wire or _wire(dtype))
            averaged = tf.cast(collectives.reduce(sent, key=f"gradients.{number}", average=True), dtype)
            blocks = tf.split(averaged, [result[index].shape.num_elements() for index in indices])
            for index, block in zip(indices, blocks, strict=True):
                result[index] = tf.reshape(block, result[index].shape)
    return result


def _wire(dtype: tf.DType) -> tf.DType:
    """The type to add in: the ring knows no bfloat16."""
    return tf.float32 if dtype == tf.bfloat16 else dtype


def _groups(present: Sequence[int], num_groups: int) -> list[list[int]]:
    count = min(num_groups, len(present))
    return [list(present[g * len(present) // count : (g + 1) * len(present) // count]) for g in range(count)]
