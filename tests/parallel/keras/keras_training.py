"""What the tests of hvd_train.keras share: a small model, data cut over the ranks, and the two ways to train on it.

`trained_alone` is the reference: one process, a plain optimizer, the ranks' batches concatenated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import hvd_train.keras as hvd

ROWS = 6  # of one rank in one step
STEPS = 6
FEATURES = 4
# float32 sums in another order: a few units in the last place of weights of size 1, over STEPS updates.
TOLERANCE = 2e-5


def small_model() -> keras.Model:
    """(N, 4) -> (N, 2), 42 weights, the same on every rank."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(6, activation="tanh", kernel_initializer=keras.initializers.GlorotUniform(seed=3)),
            layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=4)),
        ]
    )


def batches(steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """(steps, size * ROWS, 4) and (steps, size * ROWS, 2): the global batches."""
    random = np.random.default_rng(11)
    x = random.normal(size=(steps, hvd.size() * ROWS, FEATURES)).astype("float32")
    y = np.stack([x.sum(-1), x[..., 0] - x[..., 1]], -1) + random.normal(size=(*x.shape[:2], 2))
    return x, y.astype("float32")


def mine(batch: np.ndarray) -> np.ndarray:
    """This rank's rows: (steps, size * n, ...) -> (steps, n, ...)."""
    rows = batch.shape[1] // hvd.size()
    return batch[:, hvd.rank() * rows : (hvd.rank() + 1) * rows]


def fit(
    optimizer: Any,
    x: np.ndarray,
    y: np.ndarray,
    build: Callable[[], keras.Model] = small_model,
    loss: Any = "mse",
    **compile_options: Any,
) -> keras.Model:
    """Train a new model with fit(), one step per batch in the order given."""
    model = build()
    model.compile(optimizer, loss, **compile_options)
    flat = (x.reshape(-1, *x.shape[2:]), y.reshape(-1, *y.shape[2:]))
    model.fit(*flat, batch_size=x.shape[1], shuffle=False, verbose=0)
    return model


def trained_alone(optimizer: Any, **options: Any) -> keras.Model:
    # Eagerly: not a second copy of the compiled path, and no graph to trace.
    return fit(optimizer, *batches(), **{"run_eagerly": True, **options})


def trained_together(optimizer: Any, wrap: dict[str, Any] | None = None, **options: Any) -> keras.Model:
    x, y = batches()
    return fit(hvd.DistributedOptimizer(optimizer, **(wrap or {})), mine(x), mine(y), **options)


def weights(model: keras.Model) -> np.ndarray:
    """All weights of a model in one row."""
    return np.concatenate([v.numpy().ravel() for v in model.variables])


def assert_same_training(together: keras.Model, alone: keras.Model, atol: float = TOLERANCE) -> None:
    """The weights agree with one process within `atol`, between ranks in every bit, and have moved."""
    np.testing.assert_allclose(weights(together), weights(alone), rtol=0, atol=atol)
    assert_alike(weights(together))


def assert_alike(values: np.ndarray) -> None:
    """The same bits on every rank."""
    everyone = hvd.allgather(np.ascontiguousarray(values)[np.newaxis]).numpy()
    for rank, theirs in enumerate(everyone):
        np.testing.assert_array_equal(theirs, everyone[0], err_msg=f"rank {rank} differs from rank 0")


def mean_over_ranks(f: Callable[[int], float]) -> float:
    return sum(f(rank) for rank in range(hvd.size())) / hvd.size()
