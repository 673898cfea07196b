"""The choice of `--precision auto`: bfloat16 where this machine has it and a step with it is faster.

The default is float32. Which of the two is faster depends on the machine, and neither the number of ranks nor the host
may change the experiment. So the root decides once, and the decision is saved in the config.toml of the run. A resumed
run keeps it on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hvd_train.config import RunConfig
from hvd_train.data import Dataset
from hvd_train.distributed import SoloWorld, World, cpu_flags, has_bfloat16
from hvd_train.events import Observer
from hvd_train.models import (
    InputSpec,
)
from hvd_train.training.batch_sizes import BatchSizes
from hvd_train.training.compile import compile_experiment
from hvd_train.training.input_pipeline import steady_options
from hvd_train.training.precision.mixed_precision import POLICIES

# Rounds of both precisions are interleaved. bfloat16 rounds more, so it must be faster by a factor of MIN_SPEEDUP.
NUM_ROUNDS, STEPS_PER_ROUND, MIN_SPEEDUP = 5, 8, 1.05


def resolve_precision(
    config: RunConfig,
    dataset: Dataset,
    batch_sizes: BatchSizes,
    world: World,
    observer: Observer,
    spec: InputSpec | None = None,
) -> RunConfig:
    """The config, with `precision = "auto"` replaced by the decision of the root. All ranks."""
    if config.training.precision != "auto":
        return config

    def train_step(candidate: RunConfig) -> Callable[[], None]:
        one_step = candidate.replace(training={"steps_per_execution": 1}, distributed={"backward_passes_per_step": 1})
        experiment = compile_experiment(
            one_step, dataset, batch_sizes, SoloWorld(world.placement, world.settings), spec
        )
        # The same few rows each step: only the time matters.
        rows = experiment.prepared(dataset.load("train", range(1)))
        chosen = np.arange(batch_sizes.local_batch_size) % len(rows.labels)
        labels, weights = rows.labels[chosen], experiment.targets.weights
        y = experiment.targets.of_labels(labels)
        batch = (rows.features[chosen], y) if weights is None else (rows.features[chosen], y, weights[labels])
        batches_again = iter(tf.data.Dataset.from_tensors(batch).repeat().with_options(steady_options()))
        experiment.trained.make_train_function()

        def step() -> None:
            float(experiment.trained.train_function(batches_again)["loss"])  # waits for it

        return step

    decided = world.together(lambda: resolve_auto(config, hardware_has_bfloat16(), train_step), on="root")
    assert decided is not None
    resolved, why = decided
    if world.is_root:
        observer.on_message(why)
    return resolved


def hardware_has_bfloat16() -> bool:
    """Whether the GPU of this process, or else its CPU, has instructions for bfloat16."""
    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    return has_bfloat16(cpu_flags(), details.get("compute_capability", (0, 0)) if gpus else None)


def resolve_auto(
    config: RunConfig, has_it: bool, train_step: Callable[[RunConfig], Callable[[], None]]
) -> tuple[RunConfig, str]:
    """`config` with the faster precision, and the reason in words. Root only.

    `train_step(config)` compiles the model and returns a function that takes one step.
    """

    def decided(precision: str, why: str) -> tuple[RunConfig, str]:
        return config.replace(training={"precision": precision}), f"Precision {precision}: {why}."

    if not has_it:
        return decided("float32", "this machine has no instructions for bfloat16")
    steps = {precision: train_step(config.replace(training={"precision": precision})) for precision in POLICIES}
    for step in steps.values():
        step()  # traces and compiles
    seconds: dict[str, list[float]] = {precision: [] for precision in steps}
    for _ in range(NUM_ROUNDS):
        for precision, step in steps.items():
            started = time.perf_counter()
            for _ in range(STEPS_PER_ROUND):
                step()
            seconds[precision].append(time.perf_counter() - started)
    ratio = float(np.median(seconds["float32"]) / np.median(seconds["bfloat16"]))
    faster = ratio >= MIN_SPEEDUP
    return decided(
        "bfloat16" if faster else "float32", f"a step in bfloat16 is {ratio:.2f} times as fast on this model"
    )
