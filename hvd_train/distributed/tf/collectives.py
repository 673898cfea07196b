"""What the ranks of the engine tensorflow do together: sums, gathers and broadcasts of TensorFlow, on tensors and on objects.

A sum goes around a ring, and gradients do where the ranks share no memory. Each block is added up on one rank and sent on
from there, so all ranks get the same bits.
Every collective of one shape and type has one key, and all ranks ask for new keys in the same order.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensorflow_server_pb2
from tensorflow.python.eager import context as tf_context
from tensorflow.python.ops import collective_ops

from hvd_train.distributed.host_memory import LOST, HostMemory
from hvd_train.distributed.placement import Cluster
from hvd_train.errors import MissingEnvironment

JOB = "worker"
# The hosts that gRPC connects to directly. It reads this name alone.
NO_PROXY = "no_grpc_proxy"
GROUP_KEY = 1
# An object and its length travel in one message up to this size, in bytes. Longer ones need another.
FRAME = 512
LENGTH = 8
# TensorFlow gathers no single bytes.
CARRIER = np.dtype(np.int64)
# What a collective raises where another rank has ended, and then every later one.
LOSSES = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,  # of the memory of the host, in a graph
    ConnectionError,  # of the same, called directly
)
SIGNS = (
    "Socket closed",
    "Collective ops is aborted",
    "RecvBuf",
    "failed to connect",
    "Connection re",
    "/tensorflow.WorkerService/",
    LOST,
)


def is_loss_of_ranks(error: BaseException) -> bool:
    """Whether TensorFlow says by this error that another rank has ended or cannot be reached."""
    return isinstance(error, LOSSES) and any(sign in str(error) for sign in SIGNS)


class Collectives:
    """The ranks of one cluster, seen from one of them. All ranks call each method, in the same order."""

    def __init__(self, cluster: Cluster) -> None:
        """Start TensorFlow's server of this rank. It waits for nobody. TensorFlow must not have used a device before."""
        self.rank, self.size = cluster.rank, len(cluster.addresses)
        self.memory: HostMemory | None = None
        """Where these ranks add their gradients; None where they do it around the ring."""
        self._keys: dict[tuple[Any, ...], int] = {}
        _start_server(cluster)
        # Objects are read on the CPU; gradients too, whatever device computed them.
        self._device = f"/job:{JOB}/replica:0/task:{self.rank}/device:CPU:0"

    def reduce(self, tensor: tf.Tensor, *, key: str, average: bool = False) -> tf.Tensor:
        """The sum or the average over the ranks. Also in a tf.function. `key` tells collectives of one shape apart."""
        with tf.device(self._device):
            if self.memory is not None:
                total = tf.numpy_function(functools.partial(self.memory.sum, average=average), [tensor], tensor.dtype)
                total.set_shape(tensor.shape)
                return total
            return collective_ops.all_reduce_v2(
                tensor,
                self.size,
                GROUP_KEY,
                self._key("reduce", key, tensor.dtype.name, *tensor.shape),
                merge_op="Add",
                final_op="Div" if average else "Id",
                communication_hint="ring",
            )

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over the ranks, in the type of the array. Any shape."""
        if not array.size:
            return array
        total: np.ndarray = self.reduce(self._tensor(array.reshape(-1)), key="sum").numpy()
        return total.reshape(array.shape)

    def gather_objects(self, item: Any) -> list[Any]:
        """The item of each rank, by rank."""
        content = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
        frames = self._gather(_frame(content))
        lengths = [_length(frame) for frame in frames]
        rest = max(lengths) - (FRAME - LENGTH)
        tails = self._gather(_padded(content[FRAME - LENGTH :], _rounded(rest))) if rest > 0 else [b""] * self.size
        return [
            pickle.loads((frame[LENGTH:] + tail)[:length])
            for frame, tail, length in zip(frames, tails, lengths, strict=True)
        ]

    def broadcast_object(self, item: Any) -> Any:
        """The item of rank 0."""
        content = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL) if self.rank == 0 else b""
        frame = self._broadcast(_frame(content))
        length = _length(frame)
        rest = length - (FRAME - LENGTH)
        tail = self._broadcast(_padded(content[FRAME - LENGTH :], _rounded(rest))) if rest > 0 else b""
        return item if self.rank == 0 else pickle.loads((frame[LENGTH:] + tail)[:length])

    def leave(self) -> None:
        """Wait until all ranks are here. One that is through first may end before the last message of another has come."""
        with contextlib.suppress(*LOSSES):
            self.sum(np.ones(1))
        if self.memory is not None:
            self.memory.close()

    def _gather(self, content: bytes) -> list[bytes]:
        with tf.device(self._device):
            gathered = collective_ops.all_gather_v2(
                self._tensor(np.frombuffer(content, CARRIER)[None]),
                self.size,
                GROUP_KEY,
                self._key("gather", len(content)),
                communication_hint="ring",
            )
        return [row.tobytes() for row in gathered.numpy()]

    def _broadcast(self, content: bytes) -> bytes:
        key = self._key("broadcast", len(content))
        with tf.device(self._device):
            if self.rank == 0:
                tensor = self._tensor(np.frombuffer(content, CARRIER))
                collective_ops.broadcast_send_v2(tensor, self.size, GROUP_KEY, key, communication_hint="ring")
                return content
            received = collective_ops.broadcast_recv_v2(
                [len(content) // CARRIER.itemsize], CARRIER, self.size, GROUP_KEY, key, communication_hint="ring"
            )
        return bytes(received.numpy().tobytes())

    def _tensor(self, array: np.ndarray) -> tf.Tensor:
        with tf.device(self._device):
            return tf.constant(array)

    def _key(self, *what: Any) -> int:
        return self._keys.setdefault(what, len(self._keys) + 1)


def _start_server(cluster: Cluster) -> None:
    # gRPC would send what goes to other hosts through the proxy of the site.
    own = os.environ.get(NO_PROXY) or os.environ.get("NO_PROXY") or os.environ.get("no_proxy", "")
    os.environ[NO_PROXY] = ",".join(filter(None, [own, *dict.fromkeys(cluster.hosts)]))
    running = tf_context.context()
    running.configure_collective_ops(
        collective_leader=f"/job:{JOB}/replica:0/task:0", device_filters=(f"/job:{JOB}/task:{cluster.rank}",)
    )
    spec = tf.train.ClusterSpec({JOB: list(cluster.addresses)})
    server = tensorflow_server_pb2.ServerDef(
        cluster=spec.as_cluster_def(),
        # With the leader in it, which answers whom a group consists of.
        default_session_config=running.config,
        job_name=JOB,
        task_index=cluster.rank,
        protocol="grpc",
        port=cluster.port,
    )
    running.enable_collective_ops(server)
    try:
        running.ensure_initialized()
    except tf.errors.OpError as error:
        raise MissingEnvironment(
            f"TensorFlow's server of rank {cluster.rank} cannot listen on port {cluster.port}: {error.message}"
        ) from None


def _frame(content: bytes) -> bytes:
    """The length of the content, and its beginning."""
    return _padded(len(content).to_bytes(LENGTH, "little") + content[: FRAME - LENGTH], FRAME)


def _length(frame: bytes) -> int:
    return int.from_bytes(frame[:LENGTH], "little")


def _padded(content: bytes, size: int) -> bytes:
    return content.ljust(size, b"\0")


def _rounded(size: int) -> int:
    """The power of two from `size` on: each size of message needs a key that TensorFlow never forgets."""
    return max(CARRIER.itemsize, 1 << max(0, size - 1).bit_length())
