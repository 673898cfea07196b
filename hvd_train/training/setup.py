"""What a run is made of, from its config: the dataset, the batch sizes, the order of the rows, the compiled model.

All ranks call these with equal arguments and get equal parts but for the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_train import models
from hvd_train.config import RunConfig, Split, absolute
from hvd_train.data import Dataset, EpochPlan, Rows, augments, make_plan, own_shards, prepare
from hvd_train.distributed import SoloWorld, World
from hvd_train.errors import DataError
from hvd_train.evaluation import (
    Infer,
    LabelledRows,
    MetricSet,
    OutputSpec,
    TrainLabels,
    log_frequency,
    metric_set,
    metrics_of,
)
from hvd_train.events import Observer, Watch
from hvd_train.models import (
    Fit,
    HeadSpec,
    InputSpec,
    LossSettings,
    TrainLoss,
    forward_pass,
    generator_states,
    predicted,
)
from hvd_train.optimizers import make_optimizer, make_schedule
from hvd_train.training.batch_sizes import BatchPlan, plan_batches, shards_for_batch
from hvd_train.training.own_code import require_own_code
from hvd_train.training.pipeline import steady_options
from hvd_train.training.precision import computing_in, hardware_has_bfloat16, resolve_auto
from hvd_train.training.train_targets import TrainTargets
from hvd_train.training.weight_averaging import WeightAverage

MOST_STEPS_PER_EXECUTION = 16
# Train rows that a transform of the inputs is fitted on; a quantile then has an error under 0.5 % of the rows.
FITTED_ROWS = 50_000


@dataclass
class Parts:
    """What a run is made of, equal on every rank but for the rows."""

    config: RunConfig
    dataset: Dataset
    batches: BatchPlan
    metrics: MetricSet
    """What is reported, and what the outputs stand for."""
    plan: EpochPlan
    targets: TrainTargets
    model: Any
    """Plain rows in; its weights are what is saved."""
    trained: Any
    """What is compiled and trained: the model itself, or the part of it that reads rows after `preparation`."""
    preparation: Any | None
    """The other part; None where each step draws the rows anew (augmentation), and `trained` is the model."""
    head: HeadSpec
    average: WeightAverage | None
    loss: TrainLoss

    @property
    def variables(self) -> list[Any]:
        """All that a checkpoint holds: weights, layer states, random generators, optimizer state, and a mean of weights."""
        return [
            *self.model.weights,
            *generator_states(self.model),
            *self.trained.optimizer.variables,
            *(self.average.variables if self.average else []),
        ]

    def load(self, split: Split, world: World) -> Rows:
        """This rank's rows of a split, or DataError on every rank where one finds a damaged shard. All ranks."""
        rows = world.together(
            lambda: self.dataset.load(split, own_shards(world.rank, world.size, self.dataset.num_virtual_shards))
        )
        assert rows is not None
        return rows

    def prepared(self, rows: Rows) -> Rows:
        """The rows as `trained` reads them. Pure: every rank for its own."""
        if self.preparation is None:
            return rows
        return replace(rows, features=forward_pass(self.preparation)(rows.features))

    def labelled(self, rows: Rows, world: World) -> LabelledRows:
        """This rank's rows as an evaluation takes them. Pure."""
        return LabelledRows.of_shards(rows, own_shards(world.rank, world.size, self.dataset.num_virtual_shards))

    def validate(self, world: World, infer: Infer, rows: Rows) -> dict[str, float]:
        """The metrics of all ranks' rows. All ranks."""
        num_groups = self.dataset.num_virtual_shards
        return metrics_of(world, infer, self.metrics, [self.labelled(rows, world)], num_groups=num_groups)

    def infer(self, model: Any) -> Infer:
        """What `model` (the whole, its copy, or `trained`) predicts for its rows: logits (N, K), or values. Traced anew by each call."""
        return forward_pass(keras.Model(model.input, predicted(model.output, self.head)))


def open_dataset(config: RunConfig, world: World, observer: Observer, watch: Watch) -> Dataset:
    """The run's dataset: converted by one rank a host if need be, the same on all. All ranks."""
    split = config.split
    wanted = shards_for_batch(config.training, world.size)
    if split.num_virtual_shards is None and wanted is not None:
        split = replace(split, num_virtual_shards=wanted)
    report = observer.on_message if world.is_root else None

    def convert() -> Path:
        # A long conversion is no stall: it tells the watchdog that it gets on.
        where = "the conversion of the table"
        return prepare(
            config.table,
            split,
            report=report,
            progress=lambda *_: watch.phase(where, waits_for_others=False),
        )

    watch.phase("the wait for the data", waits_for_others=True)
    converted = world.together(convert, on="local root")
    watch.phase("the opening of the data", waits_for_others=True)
    found = world.allgather((world.placement.host, converted))
    directories = {host: directory for host, directory in found if directory is not None}
    dataset = world.together(lambda: Dataset.open(directories[world.placement.host]))
    assert dataset is not None
    checksums = world.allgather((dataset.checksum, world.placement.host))
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
    table = replace(config.table, path=config.table.path.resolve() if config.table.path else None)
    split = replace(config.split, num_virtual_shards=dataset.num_virtual_shards)
    evaluation = replace(config.evaluation, metrics=tuple(map(absolute, config.evaluation.metrics)))
    config = replace(config, training=training, table=table, split=split, evaluation=evaluation)
    return config, batches


def resolve_precision(
    config: RunConfig,
    dataset: Dataset,
    batches: BatchPlan,
    world: World,
    observer: Observer,
    spec: InputSpec | None = None,
) -> RunConfig:
    """The config with `precision = "auto"` decided by the root. All ranks."""
    if config.training.precision != "auto":
        return config

    def train_step(candidate: RunConfig) -> Callable[[], None]:
        one_step = candidate.replace(training={"steps_per_execution": 1}, distributed={"backward_passes_per_step": 1})
        parts = build(one_step, dataset, batches, SoloWorld(world.placement, world.settings), spec)
        # The same few rows again and again: only the time counts.
        rows = parts.prepared(dataset.load("train", range(1)))
        chosen = np.arange(batches.local_batch_size) % len(rows.labels)
        labels, weights = rows.labels[chosen], parts.targets.weights
        y = parts.targets.of_labels(labels)
        batch = (rows.features[chosen], y) if weights is None else (rows.features[chosen], y, weights[labels])
        batches_again = iter(tf.data.Dataset.from_tensors(batch).repeat().with_options(steady_options()))
        parts.trained.make_train_function()

        def step() -> None:
            float(parts.trained.train_function(batches_again)["loss"])  # waits for it

        return step

    decided = world.together(lambda: resolve_auto(config, hardware_has_bfloat16(), train_step), on="root")
    assert decided is not None
    resolved, why = decided
    if world.is_root:
        observer.on_message(why)
    return resolved


def assemble(config: RunConfig, world: World, observer: Observer, watch: Watch) -> Parts:
    """All of the above in their order, and the model: what a run begins with. All ranks."""
    require_own_code(config, world)
    dataset = open_dataset(config, world, observer, watch)
    config, batches = resolve(config, dataset, world)
    # The root's, since a transform is fitted by matrix products: hosts of unlike CPUs would come to other last bits.
    spec = world.together(lambda: input_spec(config, dataset), on="root")
    assert spec is not None
    config = resolve_precision(config, dataset, batches, world, observer, spec)
    parts = build(config, dataset, batches, world, spec)
    own = config.evaluation.metrics
    metrics = world.together(lambda: metric_set(own, parts.metrics.spec, TrainLabels.of(dataset)))
    assert metrics is not None
    return replace(parts, metrics=metrics)


def build(
    config: RunConfig, dataset: Dataset, batches: BatchPlan, world: World, spec: InputSpec | None = None
) -> Parts:
    """The model, compiled with the distributed optimizer. All ranks (without a collective), with the same `spec`."""
    spec = spec or input_spec(config, dataset)
    training, schema = config.training, dataset.schema
    targets = TrainTargets.of(dataset, config)
    output_spec = OutputSpec.of(schema.label_kind, schema.label_values, targets.loss, delta=targets.delta)
    metrics = MetricSet.of(output_spec)
    plan = make_plan(
        dataset,
        config.sampling,
        seed=training.seed,
        rows_per_shard_step=batches.rows_per_shard_step,
        passes=config.distributed.backward_passes_per_step,
    )
    keras.utils.set_random_seed(training.seed)
    head = head_spec(dataset, output_spec, targets)
    with computing_in(training.precision):
        model = models.build(config.model, spec, head, seed=training.seed, rank=world.rank, num_ranks=world.size)
        preparation, trained = (None, model) if augments(config.sampling) else models.split(model)
    schedule = make_schedule(
        config.optimizer,
        global_batch_size=batches.global_batch_size,
        steps_per_epoch=plan.num_steps,
        num_epochs=training.num_epochs,
    )
    ema = training.ema_momentum if training.averaging == "ema" else None
    optimizer = world.distribute(make_optimizer(config.optimizer, schedule, ema_momentum=ema), config.distributed)
    soft = targets.table is not None or targets.standardises
    loss = targets.objective.train_loss(LossSettings(config.objective, soft, targets.scale, targets.delta))
    trained.compile(
        optimizer,
        loss.function,
        loss_weights=loss.weight,
        steps_per_execution=training.steps_per_execution or min(MOST_STEPS_PER_EXECUTION, plan.num_steps),
        jit_compile=False,  # the collectives cannot be compiled, and on CPUs XLA was slower
    )
    optimizer.build(trained.trainable_variables)
    average = WeightAverage.of(training, trained)
    return Parts(config, dataset, batches, metrics, plan, targets, model, trained, preparation, head, average, loss)


def input_spec(config: RunConfig, dataset: Dataset) -> InputSpec:
    """The statistics of the train split that the model's first layers are made from. Reads rows of every shard."""
    statistics, fit = dataset.statistics, Fit()
    if config.model.whiten or config.model.transform in ("quantile", "log-covariance"):
        fit = Fit.of(config.model.inputs, dataset.sample("train", FITTED_ROWS), statistics.mean, statistics.std)
    return InputSpec(statistics.mean, statistics.std, dataset.schema.layout, fit)


def head_spec(dataset: Dataset, output_spec: OutputSpec, targets: TrainTargets) -> HeadSpec:
    """What the outputs start from: the train split's label shares, or its mean and standard deviation."""
    kind = targets.objective.head
    if output_spec.kind == "values":
        return HeadSpec(kind, mean=targets.mean, scale=targets.scale)
    log_share = log_frequency(dataset.label_counts("train"))
    if output_spec.kind == "classes":
        return HeadSpec(kind, log_share)
    return HeadSpec(kind, log_share, output_spec.values, targets.mean, targets.scale)
