"""The last layer: what the network is trained on, and what it predicts for a row.

| head | trained on | predicts |
|---|---|---|
| softmax | logits (N, K) | logits (N, K) |
| coral | logits (N, K-1) of "later than label k", one direction, K-1 thresholds | log-probabilities (N, K) |
| corn | logits (N, K-1) of "later than k, given later than k-1" | log-probabilities (N, K) |
| point | one value (N, 1), standardised | the value (N, 1) |
| gaussian | mean and logarithm of the standard deviation (N, 2), standardised | log-probabilities (N, K); for real values mean and standard deviation (N, 2) |

A network of M members gives (N, M, U), and each of them has a head of its own: outputs are (N, M, ...) then, and
`models.members` predicts from them.

CORAL: Cao, Mirjalili and Raschka 2020 (arXiv 1901.07884). CORN: Shi, Cao and Raschka 2021 (arXiv 2111.08851). Built-in
Keras layers alone. Shape letters: N rows, M members, U units, K labels, O outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from hvd_train.models.layers import vector
from hvd_train.models.seeds import Seeds

# No label is called impossible: with less, one row would decide the loss.
LEAST_PROBABILITY = 1e-7
# The logarithm of a Gaussian's standard deviation, in standard deviations of the labels, is kept within these.
LOG_DEVIATION_RANGE = (-4.0, 2.0)


@dataclass(frozen=True)
class HeadSpec:
    """What the outputs start from, so that a network that has learnt nothing yet predicts as the trivial baseline does."""

    kind: str | Head
    """A name in `HEADS`, or a head of the user's."""
    log_share: np.ndarray | None = None
    """(K,) logarithms of the labels' shares in the train split; None for real values."""
    values: np.ndarray | None = None
    """(K,) the labels, where they are numbers."""
    mean: float = 0.0
    scale: float = 1.0
    """Mean and standard deviation of the labels in the train split, where they are numbers."""

    @property
    def head(self) -> Head:
        return HEADS[self.kind] if isinstance(self.kind, str) else self.kind


class Head:
    """The last layers of a network, and what their outputs predict. Of built-in Keras layers and keras.ops alone."""

    def outputs(self, x_NU: Any, spec: HeadSpec, kernel: Any) -> Any:
        """(N, U) -> what the loss is computed from, in float32. `kernel` is the initialiser of the kernel."""
        raise NotImplementedError

    def predicted(self, outputs: Any, spec: HeadSpec) -> Any:
        """What the outputs predict: logarithms of probabilities (N, K), up to a constant, or values (N, 1) or (N, 2)."""
        return outputs


class Softmax(Head):
    def outputs(self, x_NU: Any, spec: HeadSpec, kernel: Any) -> Any:
        assert spec.log_share is not None
        bias = keras.initializers.Constant(spec.log_share.astype(np.float32).tolist())
        return last_dense(x_NU, len(spec.log_share), kernel, "logits", bias_initializer=bias)


class Coral(Head):
    def outputs(self, x_NU: Any, spec: HeadSpec, kernel: Any) -> Any:
        assert spec.log_share is not None
        later_K1 = later_logits(spec.log_share, conditional=False)
        s_N1 = last_dense(x_NU, 1, kernel, "direction", use_bias=False)
        members = math.prod(x_NU.shape[1:-1])
        thresholds = vector(x_NU, members * len(later_K1), members * later_K1, "thresholds")
        return s_N1 + (
            thresholds if len(x_NU.shape) == 2 else keras.ops.reshape(thresholds, (-1, members, len(later_K1)))
        )

    def predicted(self, outputs: Any, spec: HeadSpec) -> Any:
        return _logarithm(_between(keras.ops.sigmoid(outputs)))


class Corn(Head):
    def outputs(self, x_NU: Any, spec: HeadSpec, kernel: Any) -> Any:
        assert spec.log_share is not None
        later_K1 = later_logits(spec.log_share, conditional=True)
        bias = keras.initializers.Constant(later_K1)
        return last_dense(x_NU, len(later_K1), kernel, "later", bias_initializer=bias)

    def predicted(self, outputs: Any, spec: HeadSpec) -> Any:
        return _logarithm(_between(keras.ops.cumprod(keras.ops.sigmoid(outputs), axis=1)))


class Point(Head):
    def outputs(self, x_NU: Any, spec: HeadSpec, kernel: Any) -> Any:
        return last_dense(x_NU, 1, kernel, "standardised")

    def predicted(self, outputs: Any, spec: HeadSpec) -> Any:
        return keras.layers.Rescaling(spec.scale, offset=spec.mean, name="value", dtype="float32")(outputs)


class Gaussian(Head):
    def outputs(self, x_NU: Any, spec: HeadSpec, kernel: Any) -> Any:
        return last_dense(x_NU, 2, kernel, "mean_and_deviation")

    def predicted(self, outputs: Any, spec: HeadSpec) -> Any:
        mean_N1, log_deviation_N1 = gaussian_parts(outputs)
        deviation_N1 = keras.ops.exp(log_deviation_N1)
        if spec.values is None:
            return keras.ops.concatenate([mean_N1 * spec.scale + spec.mean, deviation_N1 * spec.scale], axis=1)
        edges = ((_edges(spec.values) - spec.mean) / spec.scale).tolist()
        edges_1K = keras.ops.convert_to_tensor([edges], "float32")
        later = 0.5 - 0.5 * keras.ops.erf((edges_1K - mean_N1) / (deviation_N1 * math.sqrt(2.0)))
        return _logarithm(_between(later))


HEADS: dict[str, Head] = {
    "softmax": Softmax(),
    "coral": Coral(),
    "corn": Corn(),
    "point": Point(),
    "gaussian": Gaussian(),
}


def head(x_NU: Any, spec: HeadSpec, seeds: Seeds) -> Any:
    """(N, U) -> what the loss is computed from, in float32 whatever the network computes in; (N, M, U) -> that of M members."""
    if len(x_NU.shape) == 2:
        return spec.head.outputs(x_NU, spec, seeds.kernel())
    _, members, units = x_NU.shape
    kernel = keras.initializers.RandomUniform(-(units**-0.5), units**-0.5, seeds.next())
    if not isinstance(spec.kind, str):  # a user's head knows nothing of members, who share it
        outputs = spec.head.outputs(keras.ops.reshape(x_NU, (-1, units)), spec, kernel)
        return keras.ops.reshape(outputs, (-1, members, outputs.shape[-1]))
    return spec.head.outputs(x_NU, spec, kernel)


def last_dense(x_NU: Any, num_outputs: int, kernel: Any, name: str, *, use_bias: bool = True, **settings: Any) -> Any:
    """(N, U) -> (N, O) by a dense layer, or (N, M, U) -> (N, M, O) by one for each member."""
    settings |= {"kernel_initializer": kernel, "name": name, "dtype": "float32"}
    if len(x_NU.shape) == 2:
        return keras.layers.Dense(num_outputs, use_bias=use_bias, **settings)(x_NU)
    shape = (x_NU.shape[1], num_outputs)
    return keras.layers.EinsumDense("nmu,muo->nmo", shape, bias_axes="mo" if use_bias else None, **settings)(x_NU)


def predicted_by_one(outputs: Any, spec: HeadSpec) -> Any:
    """What a row's outputs mean: (N, K) logarithms of probabilities (up to a constant), or values. See the table above."""
    return spec.head.predicted(outputs, spec)


def later_logits(log_share_K: np.ndarray, *, conditional: bool) -> list[float]:
    """(K-1,) logits of P(y > k), or of P(y > k | y > k - 1), for labels of these shares."""
    share = np.exp(log_share_K.astype(np.float64))
    later = 1 - np.cumsum(share)[:-1]
    if conditional:
        later = later / np.concatenate([[1.0], later[:-1]])
    later = np.clip(later, 1e-6, 1 - 1e-6)
    return [float(logit) for logit in np.log(later / (1 - later))]


def gaussian_parts(outputs_N2: Any) -> tuple[Any, Any]:
    """Mean (N, 1) and logarithm of the standard deviation (N, 1), in standard deviations of the labels."""
    return outputs_N2[:, :1], keras.ops.clip(outputs_N2[:, 1:], *LOG_DEVIATION_RANGE)


def _edges(values_K: np.ndarray) -> np.ndarray:
    """(K-1,) the middles between neighbouring labels."""
    return np.asarray((values_K[1:] + values_K[:-1]) / 2)


def _between(later: Any) -> Any:
    """P(y > k) (N, K-1) -> P(y = k) (N, K). CORAL's thresholds need not be in order while it learns: never negative."""
    ones = keras.ops.ones_like(later[:, :1])
    return keras.ops.relu(
        keras.ops.concatenate([ones, later], axis=1) - keras.ops.concatenate([later, 0 * ones], axis=1)
    )


def _logarithm(probability: Any) -> Any:
    probability = probability + LEAST_PROBABILITY
    return keras.ops.log(probability / keras.ops.sum(probability, axis=1, keepdims=True))
