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
from hvd_train.inference import custom_objects

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


def in_float32(model: Any) -> Any:
    """A copy of `model` with the same weights that computes in float32: what is evaluated and saved.

    Layers of ours become the layers of Keras that they stand for. A user's layer keeps its class, also where that
    class derives from one of Keras's: what it computes is the user's.
    """
    # Without its optimizer, which a clone would take along.
    bare = keras.Model(model.input, model.output, name=model.name)
    with keras.saving.custom_object_scope(custom_objects.custom_functions(model)):
        copy = _clone(bare)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers(include_self=False):
        if layer.variables and hasattr(layer, "finalize_state"):  # Normalization computes with tensors of its variables
            layer.finalize_state()
    return copy


def _clone(model: Any) -> Any:
    """`model` (functional or sequential) with new layers, each made by `built_in`."""
    return keras.models.clone_model(model, clone_function=built_in)


def built_in(layer: Any) -> Any:
    """A layer with the settings of `layer` that computes in float32: a class of Keras's own in place of ours."""
    kind: Any = type(layer)
    if is_built_in(layer):
        if isinstance(layer, keras.Model):  # a model inside the model: its layers may be ours or the user's
            return _clone(layer)
        kind = next(kind for kind in kind.__mro__ if kind.__module__.startswith("keras."))
    settings = _settings_in_float32(layer.get_config())
    return kind.from_config(settings | ({"dtype": "float32"} if "dtype" in settings else {}))


def _settings_in_float32(settings: Any) -> Any:
    """The config of a layer, with float32 for bfloat16 in the configs of the layers inside it."""
    if isinstance(settings, dict):
        if settings.get("class_name") == "DTypePolicy" and settings.get("config") == {"name": POLICIES["bfloat16"]}:
            return settings | {"config": {"name": POLICIES["float32"]}}
        return {key: _settings_in_float32(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_settings_in_float32(value) for value in settings]
    return settings
