"""The losses that Keras does not have. `hvd_train.models.objectives` is the table that names them all.

Shape letters: N rows, K labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from hvd_train.models.heads import gaussian_parts


def coral_loss(targets_NK: Any, logits: Any) -> Any:
    """(N,): the sum over the K-1 thresholds of the binary cross-entropy of "later than k" (Cao et al. 2020, eq. 4).

    `targets_NK` are shares of the labels, one-hot or soft: P(y > k) is what they leave above k.
    """
    later = _later(targets_NK)
    return -keras.ops.sum(later * keras.ops.log_sigmoid(logits) + (1 - later) * keras.ops.log_sigmoid(-logits), axis=-1)


def corn_loss(targets_NK: Any, logits: Any) -> Any:
    """(N,): the sum over the K-1 conditional tasks, each on the rows that reach it (Shi et al. 2021, eq. 5).

    Row n is in task k as far as its target is later than k - 1. The paper divides by the number of rows in all tasks;
    here the mean over rows is taken, a constant apart for the same data.
    """
    later = _later(targets_NK)
    reaches = keras.ops.concatenate([keras.ops.ones_like(later[:, :1]), later[:, :-1]], axis=-1)
    stays = reaches - later
    return -keras.ops.sum(later * keras.ops.log_sigmoid(logits) + stays * keras.ops.log_sigmoid(-logits), axis=-1)


def _later(targets_NK: Any) -> Any:
    """P(y > k) for k = 0..K-2, (N, K-1)."""
    return 1.0 - keras.ops.cumsum(targets_NK, axis=-1)[:, :-1]


def sparse_cross_entropy(labels_N: Any, logits_NK: Any) -> Any:
    """(N,): the cross-entropy of class indices, by shares: TensorFlow's operation on indices is slower (docs/reference/performance-log.md)."""
    indices_N = tf.cast(tf.reshape(labels_N, [-1]), tf.int32)  # Keras gives every target as float32
    shares_NK = tf.one_hot(indices_N, logits_NK.shape[-1], dtype=logits_NK.dtype)
    return tf.nn.softmax_cross_entropy_with_logits(shares_NK, logits_NK)


def gaussian_loss(targets: Any, outputs_N2: Any) -> Any:
    """(N,): the negative log-likelihood of standardised values (N, 1) or (N,) under outputs (N, 2), standardised too."""
    mean_N1, log_deviation_N1 = gaussian_parts(outputs_N2)
    z_N1 = keras.ops.reshape(targets, (-1, 1))
    nll = 0.5 * ((z_N1 - mean_N1) * keras.ops.exp(-log_deviation_N1)) ** 2 + log_deviation_N1
    return nll[:, 0] + 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class TrainLoss:
    """What is trained on. Values are standardised there, so that gradients do not depend on the labels' units."""

    function: Any
    """The Keras loss, of standardised values."""
    weight: float = 1.0
    """What it is multiplied by."""
    factor: float = 1.0
    offset: float = 0.0
    """factor times the weighted loss, plus offset, is the loss in the labels' units: computed in float64, after training."""

    def in_units(self, loss: float) -> float:
        """The weighted loss of standardised values in the labels' units."""
        return self.factor * loss + self.offset


class RowLoss(keras.losses.Loss):  # type: ignore[misc]
    """A function of targets and outputs as a Keras loss: weighted, and averaged over the rows."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)
