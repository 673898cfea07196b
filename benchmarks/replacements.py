"""What took the place of what was there, against it: Adam's update, dropout, layers, loss, and rows prepared once.

    python benchmarks/replacements.py --out benchmarks/results

On one core, both by turns, in one process. Run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from records import check, header, run, save

from hvd_train.bench.figures import spread
from hvd_train.config.recipes import DEFAULT, REFERENCE, SYNTHETIC_SONGS
from hvd_train.distributed.opening import open_world

REPEATS = 15
# Steps in one call, so that the call itself does not count.
STEPS = 20


def timed(step: Callable[[Any], Any], start: Any) -> Callable[[], float]:
    """Milliseconds of one `step`, of many in a row in one graph; each takes what the one before gave."""
    import tensorflow as tf

    @tf.function  # type: ignore[misc]
    def many() -> Any:
        value = start
        for _ in tf.range(STEPS):
            value = step(value)
        return value

    def once() -> float:
        began = time.perf_counter()
        many().numpy()
        return 1000 * (time.perf_counter() - began) / STEPS

    once()
    return once


def adam() -> dict[str, Callable[[], float]]:
    """One update of the reference's weights."""
    import keras
    import numpy as np
    import tensorflow as tf

    from hvd_train import models
    from hvd_train.models.heads import HeadSpec
    from hvd_train.models.inputs import InputSpec
    from hvd_train.optimizers import fused_adam

    spec, head = InputSpec(np.zeros(90), np.ones(90), (90, 1)), HeadSpec("softmax", np.zeros(90, np.float32))
    shapes = [v.shape for v in models.build(REFERENCE.model, spec, head, seed=0).trainable_variables]
    found = {}
    for name, kind in (("before", keras.optimizers.Adam), ("now", fused_adam.Adam)):
        variables = [keras.Variable(keras.random.normal(shape, seed=1)) for shape in shapes]
        gradients = [tf.random.stateless_normal(shape, (1, 2)) for shape in shapes]
        optimizer = kind(1e-3)
        optimizer.build(variables)

        def step(value: Any, optimizer: Any = optimizer, of: Any = (gradients, variables)) -> Any:
            optimizer.apply(*of)
            return value

        found[name] = timed(step, tf.constant(0.0))
    return found


def dropout() -> dict[str, Callable[[], float]]:
    """Forward and back through the default recipe's first dropout, for the rows of one rank of two."""
    import keras
    import tensorflow as tf

    from hvd_train.models.dropout import Dropout

    x = tf.random.stateless_normal((128, 90, DEFAULT.model.filters[0]), (1, 2))
    found = {}
    for name, kind in (("before", keras.layers.Dropout), ("now", Dropout)):
        layer = kind(DEFAULT.model.conv_dropout, seed=1)

        def step(value: Any, layer: Any = layer) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(value)
                dropped = layer(value, training=True)
            return tape.gradient(dropped, value, output_gradients=x)

        found[name] = timed(step, x)
    return found


def convolution(precision: str) -> dict[str, Callable[[], float]]:
    """Forward and back through the reference's second convolution, for 256 rows."""
    import keras

    from hvd_train.models.convolution import Conv1D
    from hvd_train.training.precision.mixed_precision import POLICIES

    first, second = REFERENCE.model.filters
    settings = {"padding": "same", "activation": "relu", "dtype": POLICIES[precision]}
    kinds = {"before": keras.layers.Conv1D, "now": Conv1D}
    return {
        name: forward_and_back(kind(second, REFERENCE.model.kernel_size, **settings), (256, 90, first))
        for name, kind in kinds.items()
    }


def dense(rows: int) -> dict[str, Callable[[], float]]:
    """Forward and back through the reference's dense layer."""
    import keras

    from hvd_train.models.dense import Dense

    kinds = {"before": keras.layers.Dense, "now": Dense}
    (units,) = REFERENCE.model.dense_units
    shape = (rows, 90 * REFERENCE.model.filters[-1])
    return {name: forward_and_back(kind(units, activation="relu"), shape) for name, kind in kinds.items()}


def forward_and_back(layer: Any, shape: tuple[int, ...]) -> Callable[[], float]:
    """Milliseconds of a layer's outputs for rows of this shape, and of all gradients."""
    import tensorflow as tf

    layer.build(shape)
    x = tf.cast(tf.random.stateless_normal(shape, (1, 2)), layer.compute_dtype)
    upstream = tf.cast(tf.random.stateless_normal(layer(x).shape, (3, 4)), layer.compute_dtype)

    def step(value: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(value)
            y = layer(value)
        back = tape.gradient(y, [value, *(v.value for v in layer.trainable_variables)], output_gradients=upstream)
        # All gradients are needed for the next value, and it stays as it was.
        return value + 0 * (back[0] + sum(tf.cast(tf.reduce_sum(g), value.dtype) for g in back[1:]))

    return timed(step, x)


def cross_entropy() -> dict[str, Callable[[], float]]:
    """The loss of 512 rows of 90 classes, and its gradient."""
    import keras
    import tensorflow as tf

    from hvd_train.models.losses import sparse_cross_entropy

    logits = tf.random.stateless_normal((512, 90), (1, 2))
    labels = tf.cast(tf.range(512) % 90, tf.float32)
    found = {}
    for name, loss in (
        ("before", lambda y, z: keras.losses.sparse_categorical_crossentropy(y, z, from_logits=True)),
        ("now", sparse_cross_entropy),
    ):

        def step(value: Any, loss: Any = loss) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(value)
                total = tf.reduce_mean(loss(labels, value))
            return value - tape.gradient(total, value)

        found[name] = timed(step, logits)
    return found


def preparation(world: Any, recipe: Any, batch: int) -> dict[str, Callable[[], float]]:
    """A forward pass of so many of the embedded songs, plain or prepared before."""
    import tensorflow as tf

    from hvd_train.events import Observer, Watch
    from hvd_train.training.setup import set_up

    config = recipe.replace(table={"num_songs": 20_000})
    experiment = set_up(config, world, Observer(), Watch())
    plain = experiment.dataset.load("train", range(experiment.dataset.num_virtual_shards))
    rows = {"before": (experiment.model, plain), "now": (experiment.trained, experiment.prepared(plain))}
    found = {}
    for name, (model, own) in rows.items():
        x = tf.constant(own.features[:batch])

        def step(value: Any, model: Any = model, x: Any = x) -> Any:
            return value + tf.reduce_sum(model(x + 0.0 * value))

        found[name] = timed(step, tf.constant(0.0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    result = header()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    # Before TensorFlow is imported: its threads are as many as this process has cores.
    world = open_world(DEFAULT.distributed)
    kinds = {
        "Adam, the reference's weights": adam(),
        "dropout, 128 rows, forward and back": dropout(),
        **{f"convolution and ReLU, 256 rows, {p}": convolution(p) for p in ("float32", "bfloat16")},
        **{f"dense and ReLU, {rows} rows": dense(rows) for rows in (32, 256)},
        "cross-entropy, 512 rows": cross_entropy(),
        "default, 128 rows, forward": preparation(world, DEFAULT, 128),
        "synthetic-songs, 512 rows, forward": preparation(world, SYNTHETIC_SONGS, 512),
    }
    result["rows"] = rows = {}
    for what, both in kinds.items():
        times: dict[str, list[float]] = {name: [] for name in both}
        for _ in range(REPEATS):
            for name, once in both.items():
                times[name].append(once())
        ratio = spread([a / b for a, b in zip(times["before"], times["now"], strict=True)])
        rows[what] = {"ms": {name: spread(of) for name, of in times.items()}, "ratio": ratio}
        print(f"{what:<40} {rows[what]['ms']['before']['median']:.2f} ms, {rows[what]['ms']['now']['median']:.2f} ms")
    save(given.out, "replacements", result)


if __name__ == "__main__":
    run(main)
