"""What took the place of what was there, against it: Adam's update, dropout, and rows that are prepared once.

    python benchmarks/replacements.py --out benchmarks/results

On one core, both by turns, in one process. Run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from records import header, save

from hvd_train.bench.figures import spread
from hvd_train.recipes import DEFAULT, REFERENCE, SONGS
from hvd_train.world import open_world

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

    from hvd_train import fused_adam, models
    from hvd_train.models.heads import HeadSpec
    from hvd_train.models.inputs import InputSpec

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


def preparation(world: Any, recipe: Any, batch: int) -> dict[str, Callable[[], float]]:
    """A forward pass of so many of the embedded songs, plain or prepared before."""
    import tensorflow as tf

    from hvd_train.observer import Observer
    from hvd_train.parts import assemble
    from hvd_train.watch import Watch

    config = recipe.replace(data={"num_songs": 20_000})
    parts = assemble(config, world, Observer(), Watch())
    plain = parts.dataset.load("train", range(parts.dataset.num_virtual_shards))
    rows = {"before": (parts.model, plain), "now": (parts.trained, parts.prepared(plain))}
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
    result = header()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    # Before TensorFlow is imported: its threads are as many as this process has cores.
    world = open_world(DEFAULT.distributed)
    kinds = {
        "Adam, the reference's weights": adam(),
        "dropout, 128 rows, forward and back": dropout(),
        "default, 128 rows, forward": preparation(world, DEFAULT, 128),
        "songs, 512 rows, forward": preparation(world, SONGS, 512),
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
    if given.out:
        save(given.out, "replacements", result)
    else:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
