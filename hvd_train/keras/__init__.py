"""Horovod's Keras interface on Keras 3: `import hvd_train.keras as hvd` for `import horovod.tensorflow.keras as hvd`.

The names, arguments and meanings are Horovod 0.28.1's; docs/reference/keras.md has what differs, and why. This package imports
TensorFlow, Keras and Horovod, and nothing else of hvd_train.
"""

from hvd_train.keras import environment

environment.use_tensorflow()  # before anything below imports TensorFlow or Keras

from horovod.tensorflow import (
    Adasum,
    Average,
    Compression,
    Max,
    Min,
    ProcessSet,
    Product,
    Sum,
    add_process_set,
    alltoall,
    ccl_built,
    cross_rank,
    cross_size,
    cuda_built,
    ddl_built,
    global_process_set,
    gloo_built,
    gloo_enabled,
    grouped_allgather,
    grouped_allreduce,
    grouped_reducescatter,
    is_homogeneous,
    is_initialized,
    local_rank,
    local_size,
    mpi_built,
    mpi_enabled,
    mpi_threads_supported,
    nccl_built,
    rank,
    remove_process_set,
    rocm_built,
    shutdown,
    size,
    start_timeline,
    stop_timeline,
)
from horovod.tensorflow.functions import allgather_object, broadcast_object

from hvd_train.keras import agreement as _agreement  # noqa: F401  (hooks.py installs what it registers)
from hvd_train.keras import callbacks, elastic
from hvd_train.keras import copies as _copies  # noqa: F401
from hvd_train.keras.basics import NotInitializedError
from hvd_train.keras.callbacks.metrics import MetricMismatchError
from hvd_train.keras.checks import ModelMismatchError
from hvd_train.keras.compat import init
from hvd_train.keras.ended import CollectiveEndedError
from hvd_train.keras.environment import OtherKerasError
from hvd_train.keras.ops import allgather, allreduce, broadcast, join, reducescatter
from hvd_train.keras.optimizers.distributed import DistributedOptimizer, PartialDistributedOptimizer
from hvd_train.keras.optimizers.tape import DistributedGradientTape, PartialDistributedGradientTape
from hvd_train.keras.saving import load_model
from hvd_train.keras.sync_batch_norm import SyncBatchNormalization
from hvd_train.keras.together import TrainingMismatchError
from hvd_train.keras.variables import broadcast_global_variables, broadcast_variables

__all__ = [
    "Adasum",
    "Average",
    "CollectiveEndedError",
    "Compression",
    "DistributedGradientTape",
    "DistributedOptimizer",
    "Max",
    "MetricMismatchError",
    "Min",
    "ModelMismatchError",
    "NotInitializedError",
    "OtherKerasError",
    "PartialDistributedGradientTape",
    "PartialDistributedOptimizer",
    "ProcessSet",
    "Product",
    "Sum",
    "SyncBatchNormalization",
    "TrainingMismatchError",
    "add_process_set",
    "allgather",
    "allgather_object",
    "allreduce",
    "alltoall",
    "broadcast",
    "broadcast_global_variables",
    "broadcast_object",
    "broadcast_variables",
    "callbacks",
    "ccl_built",
    "cross_rank",
    "cross_size",
    "cuda_built",
    "ddl_built",
    "elastic",
    "global_process_set",
    "gloo_built",
    "gloo_enabled",
    "grouped_allgather",
    "grouped_allreduce",
    "grouped_reducescatter",
    "init",
    "is_homogeneous",
    "is_initialized",
    "join",
    "load_model",
    "local_rank",
    "local_size",
    "mpi_built",
    "mpi_enabled",
    "mpi_threads_supported",
    "nccl_built",
    "rank",
    "reducescatter",
    "remove_process_set",
    "rocm_built",
    "shutdown",
    "size",
    "start_timeline",
    "stop_timeline",
]
