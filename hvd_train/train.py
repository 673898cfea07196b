"""One call is the whole program: `train_and_evaluate(config, world, run_dir)`.

All ranks call it with equal arguments. Who takes part in what is said at each block; only the root writes files.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_train import checkpoint, config_io, models
from hvd_train.batches import BatchPlan, plan_batches, shards_for_batch
from hvd_train.checkpoint import Progress
from hvd_train.config import RunConfig
from hvd_train.data import Dataset, EpochPlan, own_shards, prepare
from hvd_train.data.balance import make_plan
from hvd_train.epochs import EpochLoop, Loop, require_equal_weights, set_plateau_factor
from hvd_train.errors import CheckpointError, DataError
from hvd_train.evaluate import baseline_of, best_possible, evaluate, inference
from hvd_train.export import save_model
from hvd_train.metrics import Baseline, Labels
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.observer import Observer
from hvd_train.optimizers import make_optimizer, make_schedule
from hvd_train.pipeline import Objective, TrainRows, epochs_dataset
from hvd_train.report import Report, facts, write_report
from hvd_train.rundir import RunDir, write_text
from hvd_train.watch import Watch
from hvd_train.world import World

MOST_STEPS_PER_EXECUTION = 16


@dataclass
class Parts:
    """What a run is made of, equal on every rank but for the rows."""

    config: RunConfig
    dataset: Dataset
    batches: BatchPlan
    labels: Labels
    plan: EpochPlan
    objective: Objective
    model: Any
    loss_scale: float

    @property
    def variables(self) -> list[Any]:
        """All that a checkpoint holds: weights, layer states, optimizer state."""
        return [*self.model.weights, *self.model.optimizer.variables]


def open_dataset(config: RunConfig, world: World, observer: Observer, watch: Watch) -> Dataset:
    """The run's dataset: converted by one rank a host if need be, the same on all. All ranks."""
    data = config.data
    wanted = shards_for_batch(config.training, world.size)
    if data.num_virtual_shards is None and wanted is not None:
        data = replace(data, num_virtual_shards=wanted)
    report = observer.note if world.is_root else None

    def convert() -> Path:
        # A long conversion is no stall: it tells the watchdog that it gets on.
        where = "the conversion of the table"
        return prepare(data, report=report, progress=lambda *_: watch.phase(where, waits_for_others=False))

    watch.phase("the wait for the data", waits_for_others=True)
    converted = world.together(convert, on="local root")
    watch.phase("the opening of the data", waits_for_others=True)
    found = world.allgather((world.place.host, converted))
    directories = {host: directory for host, directory in found if directory is not None}
    dataset = world.together(lambda: Dataset.open(directories[world.place.host]))
    assert dataset is not None
    checksums = world.allgather((dataset.checksum, world.place.host))
    others = sorted({host for checksum, host in checksums if checksum != checksums[0][0]})
    if others:
        raise DataError(
            f"The data on {', '.join(others)} is not the data on {checksums[0][1]} (checksums differ). "
            f"Copy the same file, or the converted dataset directory, to every host."
        )
    return dataset


def resolve(config: RunConfig, dataset: Dataset, world: World) -> tuple[RunConfig, BatchPlan]:
    """The config with everything chosen, as it is saved, and the batch sizes. Pure."""
    batches = plan_batches(
        config.training,
        size=world.size,
        num_virtual_shards=dataset.num_virtual_shards,
        num_train_rows=dataset.num_rows("train"),
    )
    training = config.training
    if not batches.follows_size:
        training = replace(training, global_batch_size=batches.global_batch_size)
    path = config.data.path.resolve() if config.data.path else None
    data = replace(config.data, num_virtual_shards=dataset.num_virtual_shards, path=path)
    return replace(config, training=training, data=data), batches


def build(config: RunConfig, dataset: Dataset, batches: BatchPlan, world: World) -> Parts:
    """The model, compiled with the distributed optimizer. All ranks (without a collective)."""
    training, schema = config.training, dataset.schema
    labels = Labels.of(schema.label_kind, schema.label_values)
    plan = make_plan(dataset, config.data, seed=training.seed, rows_per_shard_step=batches.rows_per_shard_step)
    objective = Objective.of(dataset, config.data)
    keras.utils.set_random_seed(training.seed)
    spec = InputSpec(dataset.statistics.mean, dataset.statistics.std, schema.layout)
    head = head_spec(dataset, labels)
    model = models.build(config.model, spec, head, seed=training.seed, rank=world.rank)
    schedule = make_schedule(
        config.optimizer,
        global_batch_size=batches.global_batch_size,
        steps_per_epoch=plan.num_steps,
        num_epochs=training.num_epochs,
    )
    optimizer = world.distribute(make_optimizer(config.optimizer, schedule))
    loss_scale = 1.0
    if labels.kind == "values":
        # In units of the labels' variance, so that the gradient's size does not depend on the labels' units.
        loss_scale = (dataset.statistics.label_std or 1.0) ** 2
        loss: Any = keras.losses.MeanSquaredError()
    else:
        soft = objective.table is not None
        kind = keras.losses.CategoricalCrossentropy if soft else keras.losses.SparseCategoricalCrossentropy
        loss = kind(from_logits=True)
    model.compile(
        optimizer,
        loss,
        loss_weights=1.0 / loss_scale,
        steps_per_execution=training.steps_per_execution or min(MOST_STEPS_PER_EXECUTION, plan.num_steps),
        jit_compile=False,  # the collectives cannot be compiled, and on CPUs XLA was slower
    )
    optimizer.build(model.trainable_variables)
    return Parts(config, dataset, batches, labels, plan, objective, model, loss_scale)


def head_spec(dataset: Dataset, labels: Labels) -> HeadSpec:
    """What the outputs start from: the train split's label shares, or its mean and deviation."""
    if labels.kind != "values":
        return HeadSpec(bias=Baseline.of(labels, dataset.label_counts("train")).log_frequency)
    return HeadSpec(bias=np.array([dataset.statistics.label_mean]), scale=dataset.statistics.label_std or 1.0)


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
        checkpoint.restore(loaded, parts.variables)
        return loaded.progress

    progress = world.together(read, on="root")
    assert progress is not None
    world.broadcast_variables(parts.variables)
    set_plateau_factor(parts.model.optimizer, progress.plateau_factor)
    return progress


def fit(parts: Parts, world: World, loop: Loop) -> None:
    """Run the epochs that are left. All ranks; each step ends with one grouped allreduce."""
    config, progress = parts.config, loop.progress
    shards = own_shards(world.rank, world.size, parts.dataset.num_virtual_shards)
    rows = parts.dataset.load("train", shards)

    def order_from(first_step: int) -> np.ndarray:
        return parts.plan.order(loop.progress.epoch, shards, rows.shard_starts, labels=rows.labels)[first_step:]

    train = TrainRows(
        parts.dataset,
        config.data,
        rows,
        parts.objective,
        seed=config.training.seed,
        epoch=lambda: loop.progress.epoch,
    )

    callback = EpochLoop(loop)
    settings: dict[str, Any] = {"verbose": 0, "shuffle": False, "callbacks": [callback]}
    if progress.step:  # a checkpoint from the middle of an epoch: first the rest of that one
        first_step = progress.step
        rest = epochs_dataset(train, lambda: order_from(first_step), parts.plan.num_steps - first_step)
        parts.model.fit(rest, epochs=progress.epoch + 1, initial_epoch=progress.epoch, **settings)
    if loop.progress.epoch < config.training.num_epochs and not loop.progress.stopped_early:
        dataset = epochs_dataset(train, lambda: order_from(0), parts.plan.num_steps)
        parts.model.fit(dataset, epochs=config.training.num_epochs, initial_epoch=loop.progress.epoch, **settings)


def train_and_evaluate(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    *,
    resume: bool = False,
    observer: Observer | None = None,
    watch: Watch | None = None,
) -> Report:
    """Train as `config` says, keep the best epoch, evaluate it, write everything to `run_dir`. All ranks.

    Returns the report on every rank. Raises UserError alike on every rank for what the user can mend.
    """
    observer, watch = observer or Observer(), watch or Watch()
    started = time.monotonic()
    dataset = open_dataset(config, world, observer, watch)
    config, batches = resolve(config, dataset, world)
    parts = build(config, dataset, batches, world)
    text = config_io.dumps(config)
    progress = begin(parts, world, run_dir if resume else None)

    def start_writing() -> None:
        run_dir.create()
        checkpoint.sweep(run_dir.last.parent)
        write_text(run_dir.config, text)
        run_dir.done.unlink(missing_ok=True)

    world.together(start_writing, on="root")
    found = facts(parts, world, world.allgather(world.place))
    if world.is_root:
        observer.found(found)

    validation = dataset.load("val", own_shards(world.rank, world.size, dataset.num_virtual_shards))
    infer = inference(parts.model)

    def save(best: bool) -> None:
        for path in [run_dir.last] + [run_dir.best] * best:
            checkpoint.save(path, parts.variables, loop.progress, config=text, data_checksum=dataset.checksum)

    loop = Loop(
        world=world,
        training=config.training,
        progress=progress,
        num_steps=parts.plan.num_steps,
        global_batch_size=batches.global_batch_size,
        validate=lambda: evaluate(world, infer, parts.labels, validation, dataset.num_virtual_shards),
        save=save,
        observer=observer,
        watch=watch,
        loss_scale=parts.loss_scale,
    )
    fit(parts, world, loop)
    return finish(parts, world, run_dir, loop, found, started=started)


def finish(parts: Parts, world: World, run_dir: RunDir, loop: Loop, found: dict[str, str], *, started: float) -> Report:
    """Load the best epoch, evaluate it, write model and report. All ranks; the root reads and writes."""
    watch = loop.watch
    watch.phase("the final evaluation", waits_for_others=True)
    require_equal_weights(world, parts.model.weights)
    world.together(lambda: checkpoint.restore(checkpoint.load(run_dir.best), parts.variables), on="root")
    world.broadcast_variables(parts.model.weights)
    infer = inference(parts.model)
    dataset, figures, baselines, optimum = parts.dataset, {}, {}, {}
    for split in ("val", "test"):
        rows = dataset.load(split, own_shards(world.rank, world.size, dataset.num_virtual_shards))
        figures[split] = evaluate(world, infer, parts.labels, rows, dataset.num_virtual_shards)
        optimum[split] = best_possible(dataset, split)
        baselines[split] = baseline_of(world, dataset, parts.labels, split, rows)
    report = Report.of(parts, world, loop, found, figures, baselines, optimum, started=started)

    def write() -> None:
        save_model(parts.model, dataset, run_dir)
        write_report(report, run_dir)

    world.together(write, on="root")
    if world.is_root:
        loop.observer.finished(report)
    return report
