"""`--precision`: what the products of a network are computed in. Weights, sums, losses and metrics stay float32.

The default is float32: whether bfloat16 is the faster one depends on the machine, and the number of ranks or the host
a run happens to start on must not change the experiment. So `auto` is a wish that is resolved once, by the root, and the
answer is saved in the run's config.toml: a resumed run keeps it wherever it goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_train.config import RunConfig
from hvd_train.distributed import cpu_flags, has_bfloat16

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
# The check: alternating rounds of some steps each; bfloat16 must win by this factor to be worth its rounding.
NUM_ROUNDS, STEPS_A_ROUND, WORTH_IT = 5, 8, 1.05


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers made in this block compute in `precision`; those that say dtype="float32" themselves do not."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def hardware_has_bfloat16() -> bool:
    """Whether this process's GPU, or else its CPU, multiplies in bfloat16 by itself."""
    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    return has_bfloat16(cpu_flags(), details.get("compute_capability", (0, 0)) if gpus else None)


def resolve_auto(
    config: RunConfig, has_it: bool, train_step: Callable[[RunConfig], Callable[[], None]]
) -> tuple[RunConfig, str]:
    """`config` with "auto" decided, and the reason in words. Root only, where it is "auto".

    `train_step(config)` compiles the model at hand and gives a function that takes one step.
    """

    def decided(precision: str, why: str) -> tuple[RunConfig, str]:
        return config.replace(training={"precision": precision}), f"Precision {precision}: {why}."

    if not has_it:
        return decided("float32", "this machine does not multiply in bfloat16 by itself")
    steps = {precision: train_step(config.replace(training={"precision": precision})) for precision in POLICIES}
    for step in steps.values():
        step()  # traces and compiles
    seconds: dict[str, list[float]] = {precision: [] for precision in steps}
    for _ in range(NUM_ROUNDS):
        for precision, step in steps.items():
            started = time.perf_counter()
            for _ in range(STEPS_A_ROUND):
                step()
            seconds[precision].append(time.perf_counter() - started)
    ratio = float(np.median(seconds["float32"]) / np.median(seconds["bfloat16"]))
    faster = ratio >= WORTH_IT
    return decided(
        "bfloat16" if faster else "float32", f"a step in bfloat16 is {ratio:.2f} times as fast on this model"
    )


def is_built_in(layer: Any) -> bool:
    """Whether a file with `layer` opens with Keras alone: a class of Keras's own, or one of ours that stands for one."""
    return type(layer).__module__.split(".")[0] in ("keras", "hvd_train")


def built_in(layer: Any, **changes: Any) -> Any:
    """A layer with `layer`'s settings and `changes` to them, for `clone_model`: Keras's own in place of ours.

    A user's layer stays what it is, also where it derives from one of Keras's: what it computes is the user's.
    """
    kind: Any = type(layer)
    if is_built_in(layer):
        kind = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("keras."))
    settings = layer.get_config()
    return kind.from_config(settings | {key: value for key, value in changes.items() if key in settings})


def in_float32(model: Any) -> Any:
    """`model` with the same weights, computing in float32: what is evaluated and saved. Layers: see `built_in`."""
    # Without its optimizer, which a clone would take along.
    bare = keras.Model(model.input, model.output, name=model.name)
    copy = keras.models.clone_model(bare, clone_function=lambda layer: built_in(layer, dtype="float32"))
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers(include_self=False):
        if layer.variables and hasattr(layer, "finalize_state"):  # Normalization computes with tensors of its variables
            layer.finalize_state()
    return copy
