"""Builds the model of an experiment and compiles it with its loss and the distributed optimizer."""

from __future__ import annotations

import keras
import tensorflow as tf

from hvd_train import models
from hvd_train.config import RunConfig
from hvd_train.data import Dataset, augments, make_plan, require_possible_augmentation
from hvd_train.distributed import World
from hvd_train.evaluation import (
    MetricSet,
    OutputSpec,
    log_frequency,
)
from hvd_train.models import (
    Fit,
    HeadSpec,
    InputSpec,
    LossSettings,
)
from hvd_train.optimizers import make_optimizer, make_schedule
from hvd_train.training.batch_sizes import BatchSizes
from hvd_train.training.experiment import Experiment
from hvd_train.training.local_steps.plan import WorkerPlan, worker_plan
from hvd_train.training.local_steps.workers import VirtualWorkers
from hvd_train.training.precision.mixed_precision import computing_in
from hvd_train.training.train_targets import TrainTargets
from hvd_train.training.user_code.layer_states import layer_states
from hvd_train.training.weight_averaging import WeightAverage

MOST_STEPS_PER_EXECUTION = 16
# Train rows that a transform of the inputs is fitted on; a quantile then has an error under 0.5 % of the rows.
FITTED_ROWS = 50_000


def compile_experiment(
    config: RunConfig, dataset: Dataset, batch_sizes: BatchSizes, world: World, spec: InputSpec | None = None
) -> Experiment:
    """The experiment with its model compiled with the distributed optimizer. All ranks, with the same `spec`. No collective."""
    spec = spec or input_spec(config, dataset)
    training, schema = config.training, dataset.schema
    require_possible_augmentation(config.sampling, dataset, config.model.inputs.is_for_series)
    targets = TrainTargets.of(dataset, config)
    output_spec = OutputSpec.of(schema.label_kind, schema.label_values, targets.loss, delta=targets.delta)
    metrics = MetricSet.of(output_spec)
    plan = make_plan(
        dataset,
        config.sampling,
        seed=training.seed,
        rows_per_shard_step=batch_sizes.rows_per_shard_step,
        passes=config.distributed.backward_passes_per_step * config.distributed.local_steps,
    )
    workers = worker_plan(config.distributed, rank=world.rank, size=world.size)
    # Under local steps dropout draws the rows of whichever worker has its turn, and no layer meets other ranks in a step.
    part = tf.Variable(0, dtype=tf.int64, trainable=False, name="worker") if workers else world.rank
    batch_normalization = None if workers else world.batch_normalization
    keras.utils.set_random_seed(training.seed)
    head = head_spec(dataset, output_spec, targets)
    with computing_in(training.precision):
        model = models.build(
            config.model, spec, head, seed=training.seed, rank=part, batch_normalization=batch_normalization
        )
        preparation, trained = (None, model) if augments(config.sampling) else models.split(model)
    schedule = make_schedule(
        config.optimizer,
        global_batch_size=batch_sizes.global_batch_size,
        steps_per_epoch=plan.num_steps,
        num_epochs=training.num_epochs,
    )
    ema = training.ema_momentum if training.averaging == "ema" else None
    optimizer = make_optimizer(config.optimizer, schedule, ema_momentum=ema)
    if not workers:
        optimizer = world.distribute(optimizer, config.distributed)
    soft = targets.table is not None or targets.standardises
    of_one = targets.objective.train_loss(LossSettings(config.objective, soft, targets.scale, targets.delta))
    loss = models.loss_of(trained.output, of_one)
    trained.compile(
        optimizer,
        loss.function,
        loss_weights=loss.weight,
        steps_per_execution=steps_per_execution(training.steps_per_execution, plan.num_steps, workers),
        jit_compile=False,  # the collectives cannot be compiled, and on CPUs XLA was slower
    )
    optimizer.build(trained.trainable_variables)
    average = WeightAverage.of(training, trained)
    local = VirtualWorkers(workers, world, trained, part, states=layer_states(config, trained)) if workers else None
    return Experiment(
        config, dataset, batch_sizes, metrics, plan, targets, model, trained, preparation, head, average, loss, local
    )


def steps_per_execution(given: int | None, num_steps: int, workers: WorkerPlan | None) -> int:
    """Steps between two returns to Python."""
    if workers:
        return workers.steps_per_execution(given)
    return given or min(MOST_STEPS_PER_EXECUTION, num_steps)


def input_spec(config: RunConfig, dataset: Dataset) -> InputSpec:
    """The statistics of the train split that the first layers are built from. Reads rows of every shard."""
    statistics, inputs = dataset.statistics, config.model.inputs
    indicators = statistics.often_missing(dataset.num_rows("train")) if inputs.missing_values == "indicator" else ()
    fit = Fit(indicators=indicators)
    if models.is_fitted(inputs):
        fit = Fit.of(inputs, dataset.sample("train", FITTED_ROWS), statistics.mean, statistics.std, indicators)
    mean, std = statistics.mean, statistics.std
    if inputs.transform == "channel":
        mean, std = statistics.of_channels(dataset.num_rows("train"), dataset.schema.layout[1])
    return InputSpec(mean, std, dataset.schema.layout, fit)


def head_spec(dataset: Dataset, output_spec: OutputSpec, targets: TrainTargets) -> HeadSpec:
    """The initial outputs: the label frequencies of the train split, or its mean and standard deviation."""
    kind = targets.objective.head
    if output_spec.kind == "values":
        return HeadSpec(kind, mean=targets.mean, scale=targets.scale)
    log_share = log_frequency(dataset.label_counts("train"))
    if output_spec.kind == "classes":
        return HeadSpec(kind, log_share)
    return HeadSpec(kind, log_share, output_spec.values, targets.mean, targets.scale)
