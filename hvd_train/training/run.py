"""One call is the whole program: `train_and_evaluate(config, world, run_dir)`.

All ranks call it with equal arguments. Who takes part in what is said at each block; only the root writes files.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hvd_train.config import RunConfig, toml
from hvd_train.data import own_shards
from hvd_train.distributed import World
from hvd_train.errors import CheckpointError
from hvd_train.evaluation import TrainLabels, at_temperature, evaluate_rows, fitted_temperature
from hvd_train.events import Observers, Watch
from hvd_train.files import write_text
from hvd_train.inference import deployed, save_model
from hvd_train.models import part_from_root
from hvd_train.runs import SCORED, Checkpoint, Progress, Report, RunDir, checkpoint, held, write_report
from hvd_train.training.callbacks import AgreedStop, part_callbacks
from hvd_train.training.loop import EpochLoop, Loop, require_equal_weights, set_plateau_factor
from hvd_train.training.pipeline import TrainRows, epochs_dataset
from hvd_train.training.precision import in_float32
from hvd_train.training.saveable import check_saveable
from hvd_train.training.setup import Parts, assemble
from hvd_train.training.summary import facts, report_of


def begin(parts: Parts, world: World, resume_from: RunDir | None) -> Progress:
    """Fresh weights or a checkpoint's, the root's on every rank. All ranks; only the root reads."""

    def read() -> Progress:
        if resume_from is None:
            return Progress()
        loaded = checkpoint.load(resume_from.last)
        if loaded.data_checksum != parts.dataset.checksum:
            raise CheckpointError(
                f"{loaded.path} was trained on other data (its checksum is {loaded.data_checksum[:12]}, this data's is "
                f"{parts.dataset.checksum[:12]}). Resume with the same --data and split, or start a new run."
            )
        require_place(loaded, checkpoint.load(resume_from.best) if loaded.progress.best_epoch else None, parts)
        checkpoint.restore(loaded, parts.variables)
        return loaded.progress

    progress = world.together(read, on="root")
    assert progress is not None
    world.broadcast_variables(parts.variables)
    part_from_root(parts.model, world.rank)
    set_plateau_factor(parts.trained.optimizer, progress.plateau_factor)
    return progress


def require_place(last: Checkpoint, best: Checkpoint | None, parts: Parts) -> None:
    """CheckpointError where a run cannot go on from where `last` is."""
    progress, num_steps = last.progress, parts.plan.num_steps
    if progress.step and progress.num_steps != num_steps:
        raise CheckpointError(
            f"{last.path} is from the middle of an epoch of {progress.num_steps} steps, and an epoch of this run has {num_steps}. "
            f"Resume with the same global batch (with --local-batch-size: at the same number of ranks), or start a new run."
        )
    if best and best.progress.best_epoch < progress.best_epoch:
        raise CheckpointError(
            f"{best.path} is from epoch {best.progress.best_epoch}, but by {last.path.name} the best epoch was "
            f"{progress.best_epoch}: the two files are from different moments. Copy both from the run, or start a new run."
        )


def fit(parts: Parts, world: World, loop: Loop, keras_callbacks: list[Any]) -> None:
    """Run the epochs that are left. All ranks; each step ends with one grouped allreduce."""
    config, progress = parts.config, loop.progress
    shards = own_shards(world.rank, world.size, parts.dataset.num_virtual_shards)
    rows = parts.prepared(parts.load("train", world))

    def order_from(first_step: int) -> np.ndarray:
        return parts.plan.order(loop.progress.epoch, shards, rows.shard_starts, labels=rows.labels)[first_step:]

    train = TrainRows(
        parts.dataset,
        config.sampling,
        rows,
        parts.objective,
        seed=config.training.seed,
        epoch=lambda: loop.progress.epoch,
    )

    callbacks = [EpochLoop(loop), *keras_callbacks, *([AgreedStop(world)] if keras_callbacks else [])]
    settings: dict[str, Any] = {"verbose": 0, "shuffle": False, "callbacks": callbacks}
    stopped = progress.stopped_early
    if progress.step:  # a checkpoint from the middle of an epoch: first the rest of that one
        first_step = progress.step
        rest = epochs_dataset(train, lambda: order_from(first_step), parts.plan.num_steps - first_step)
        parts.trained.fit(rest, epochs=progress.epoch + 1, initial_epoch=progress.epoch, **settings)
        stopped = parts.trained.stop_training
    if loop.progress.epoch < config.training.num_epochs and not stopped:
        dataset = epochs_dataset(train, lambda: order_from(0), parts.plan.num_steps)
        parts.trained.fit(dataset, epochs=config.training.num_epochs, initial_epoch=loop.progress.epoch, **settings)


def train_and_evaluate(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    *,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    watch: Watch | None = None,
) -> Report:
    """Train as `config` says, keep the best epoch, evaluate it, write everything to `run_dir`. All ranks.

    `callbacks` are Observers, which the root alone calls, and Keras callbacks, which each rank calls with its own
    object (see `hvd_train.training.callbacks`). Returns the report on every rank.

    Raises:
        UserError: alike on every rank, for what the user can correct. Also where another program writes to `run_dir`,
            or `run_dir` holds the results of a run and `resume` is false.
    """
    observers, keras_callbacks = part_callbacks(callbacks)
    observer, watch = Observers(observers if world.is_root else []), watch or Watch()
    try:
        with held(run_dir, world, new=not resume, told=observer.on_message):
            return _train(
                config, world, run_dir, resume=resume, observer=observer, keras_callbacks=keras_callbacks, watch=watch
            )
    finally:
        observer.close()


def _train(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    *,
    resume: bool,
    observer: Observers,
    keras_callbacks: list[Any],
    watch: Watch,
) -> Report:
    started = time.monotonic()
    parts = assemble(config, world, observer, watch)
    config, dataset, batches = parts.config, parts.dataset, parts.batches
    text = toml.dumps(config)
    needs = world.together(lambda: check_saveable(parts.model), on="root")
    if needs and world.is_root:
        observer.on_message(needs)
    progress = begin(parts, world, run_dir if resume else None)

    def start_writing() -> None:
        run_dir.create()
        run_dir.sweep()
        write_text(run_dir.config, text)
        run_dir.done.unlink(missing_ok=True)

    world.together(start_writing, on="root")
    found = facts(parts, world, world.allgather(world.placement))
    if world.is_root:
        observer.on_start(asdict(config), found, run_dir.path)

    watch.phase("the preparation of the rows", waits_for_others=False)
    validation = parts.prepared(parts.load("val", world))
    infer = parts.infer(parts.trained)

    def save(last: bool, best: bool) -> None:
        # The best first: killed between the two, the run takes the epoch again. Else it would believe in a best that it lacks.
        paths = [run_dir.best] * best + [run_dir.last] * last
        world.gather_state(parts.trained.optimizer)
        world.together(
            lambda: writer.save(paths, parts.variables, loop.progress, config=text, data_checksum=dataset.checksum),
            on="root",
        )

    loop = Loop(
        world=world,
        training=config.training,
        progress=progress,
        num_steps=parts.plan.num_steps,
        global_batch_size=batches.global_batch_size,
        validate=lambda: parts.validate(world, infer, validation),
        save=save,
        average=parts.average,
        observer=observer,
        watch=watch,
        passes=config.distributed.backward_passes_per_step,
        loss=parts.loss,
    )
    with checkpoint.Writer() as writer:
        fit(parts, world, loop, keras_callbacks)
        world.together(writer.finish, on="root")
    return finish(parts, world, run_dir, loop, found, started=started)


def finish(parts: Parts, world: World, run_dir: RunDir, loop: Loop, found: dict[str, str], *, started: float) -> Report:
    """Load the best epoch, evaluate it, write model and report. All ranks; the root reads and writes."""
    watch = loop.watch
    watch.phase("the final evaluation", waits_for_others=True)
    require_equal_weights(world, parts.model.weights)
    world.together(lambda: checkpoint.restore(checkpoint.load(run_dir.best), parts.variables), on="root")
    world.broadcast_variables(parts.model.weights)
    # The figures are those of the model that is saved, which computes in float32 whatever it was trained in.
    model = in_float32(parts.model)
    dataset, metrics = parts.dataset, parts.metrics
    infer = parts.infer(model)
    rows = {split: parts.labelled(parts.load(split, world), world) for split in SCORED}
    temperature = 1.0
    if parts.config.objective.calibrate:
        temperature = fitted_temperature(world, infer, metrics, rows["val"])
        infer = at_temperature(infer, temperature)
    train, num_groups = TrainLabels.of(dataset), dataset.num_virtual_shards
    scores = {
        split: evaluate_rows(
            world, infer, metrics, train, [rows[split]], num_groups=num_groups, optimum=dataset.optimum(split)
        )
        for split in SCORED
    }
    report = report_of(parts, world, loop, found, scores, temperature, started=started)

    def write() -> None:
        save_model(deployed(model, parts.head, metrics.spec, temperature), metrics.spec, dataset, run_dir)
        write_report(report, run_dir)

    world.together(write, on="root")
    if world.is_root:
        loop.observer.on_end(report)
    return report
