"""load_model: a saved model, ready to go on training distributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import horovod.tensorflow as _horovod
import keras

from hvd_train.keras import hooks
from hvd_train.keras.basics import require_initialized, say_once
from hvd_train.keras.optimizers.distributed import DistributedOptimizer
from hvd_train.keras.plain import become
from hvd_train.keras.sync_batch_norm import SyncBatchNormalization


def load_model(
    filepath: Any,
    custom_optimizers: Sequence[type] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    compression: Any = _horovod.Compression.none,
    legacy_opts: bool = False,
) -> Any:
    """Load a model with its optimizer's state, and make the optimizer distributed.

    Any file of Keras 3 will do, written here or by plain Keras. Layers saved as BatchNormalization with
    `synchronized=True` become SyncBatchNormalization. A model saved without optimizer is returned without.

    Args:
        filepath: a `.keras` or `.h5` file; each rank reads it. (Or the root alone reads it, the other ranks build the
            model, and BroadcastGlobalVariablesCallback broadcasts weights and optimizer state.)
        custom_optimizers: optimizer classes of one's own.
        custom_objects: other classes and functions of one's own, by name.
        compression: as DistributedOptimizer's.
        legacy_opts: must be False: Keras 3 has no legacy optimizers.
    """
    require_initialized("hvd.load_model()")
    if legacy_opts:
        raise ValueError("legacy_opts=True: Keras 3 has no keras.optimizers.legacy. Save the model with a current one.")
    objects = {cls.__name__: cls for cls in custom_optimizers or ()} | dict(custom_objects or {})
    model = keras.models.load_model(filepath, custom_objects=objects)
    synchronize_layers(model)
    if getattr(model, "optimizer", None) is None:
        say_once(f"{filepath} has no optimizer: compile the model with hvd.DistributedOptimizer() before training it.")
        return model
    DistributedOptimizer(model.optimizer, compression=compression)
    hooks.register_model(model)
    hooks.forbid_jit(model)
    return model


def synchronize_layers(model: Any) -> None:
    """Turn every BatchNormalization(synchronized=True) in `model` into SyncBatchNormalization, in place."""
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.BatchNormalization and layer.synchronized:
            become(layer, SyncBatchNormalization)
            layer.supports_jit = False
