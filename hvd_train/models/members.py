"""Networks of several members: the mean of their losses is trained on, the mean of their predictions is predicted.

Such a network gives (N, M, O) where another gives (N, O). Shape letters: N rows, M members, O outputs of the head, K
labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from hvd_train.models.heads import HeadSpec, predicted_by_one
from hvd_train.models.losses import TrainLoss


class MeanOverMembers(keras.losses.Loss):  # type: ignore[misc]
    """A loss of (N, O) as one of (N, M, O): that of a row is the mean over its members, before it is weighted."""

    def __init__(self, of_one: Any) -> None:
        super().__init__()
        self._of_one = of_one

    def call(self, y_true: Any, y_pred: Any) -> Any:
        _, members, outputs = y_pred.shape
        # (N, M, O) -> (N * M, O), each with the target of its row
        losses = self._of_one.call(keras.ops.repeat(y_true, members, axis=0), keras.ops.reshape(y_pred, (-1, outputs)))
        return keras.ops.mean(keras.ops.reshape(losses, (-1, members)), axis=1)


def loss_of(outputs: Any, loss: TrainLoss) -> TrainLoss:
    """`loss` for a network with these outputs."""
    return loss if len(outputs.shape) == 2 else replace(loss, function=MeanOverMembers(loss.function))


def predicted(outputs: Any, spec: HeadSpec) -> Any:
    """What the outputs of a row predict: (N, K) logarithms of probabilities (up to a constant), or values; see `models.heads`."""
    if len(outputs.shape) == 2:
        return predicted_by_one(outputs, spec)
    _, members, num_outputs = outputs.shape
    by_each = predicted_by_one(keras.ops.reshape(outputs, (-1, num_outputs)), spec)
    by_each_NMO = keras.ops.reshape(by_each, (-1, members, by_each.shape[-1]))
    if by_each_NMO.shape[-1] == 1:
        return keras.ops.mean(by_each_NMO, axis=1)
    if spec.log_share is None:
        return _mixture(by_each_NMO)
    # The logarithm of the mean of the probabilities.
    logs = by_each_NMO - keras.ops.logsumexp(by_each_NMO, axis=2, keepdims=True)
    return keras.ops.logsumexp(logs, axis=1)


def _mixture(by_each_NM2: Any) -> Any:
    """(N, 2) mean and standard deviation of the mixture of the members' normal distributions."""
    mean_NM1, std_NM1 = by_each_NM2[..., :1], by_each_NM2[..., 1:]
    mean_N11 = keras.ops.mean(mean_NM1, axis=1, keepdims=True)
    variance_N1 = keras.ops.mean(std_NM1**2 + (mean_NM1 - mean_N11) ** 2, axis=1)
    return keras.ops.concatenate([mean_N11[:, 0], keras.ops.sqrt(variance_N1)], axis=1)
