"""An experiment that is ready to train: config, data, batch sizes, order of the rows, and the compiled model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import keras

from hvd_train.config import TRAIN_LOSS, RunConfig, Split
from hvd_train.data import Dataset, EpochPlan, Rows, own_shards
from hvd_train.distributed import World
from hvd_train.evaluation import (
    Infer,
    LabelledRows,
    MetricSet,
    TrainLabels,
    metrics_of,
)
from hvd_train.models import (
    HeadSpec,
    TrainLoss,
    forward_pass,
    generator_states,
    predicted,
)
from hvd_train.training.batch_sizes import BatchSizes
from hvd_train.training.local_steps.workers import VirtualWorkers
from hvd_train.training.stopping import VALIDATION_LOSS, Monitor
from hvd_train.training.train_targets import TrainTargets
from hvd_train.training.weight_averaging import WeightAverage


@dataclass
class Experiment:
    """Everything that training needs. It is equal on every rank but for the rows."""

    config: RunConfig
    dataset: Dataset
    batch_sizes: BatchSizes
    metrics: MetricSet
    """The metrics that are reported, and the labels that the outputs predict."""
    plan: EpochPlan
    """The order of the rows in each epoch."""
    targets: TrainTargets
    model: Any
    """Reads plain rows. Its weights are saved."""
    trained: Any
    """The compiled model: `model` itself, or the layers of it that follow `preparation`."""
    preparation: Any | None
    """The first layers of `model`, which run once before training. None with augmentation: then `trained` is `model`."""
    head: HeadSpec
    average: WeightAverage | None
    loss: TrainLoss
    workers: VirtualWorkers | None = None
    """The virtual workers of this rank, under local steps."""

    @property
    def gradient_bytes(self) -> int:
        """Of the gradients of a step, which are float32 also where a network computes in bfloat16."""
        return sum(4 * math.prod(weight.shape) for weight in self.trained.trainable_variables)

    @property
    def variables(self) -> list[Any]:
        """All variables of a checkpoint: weights, layer states, random generators, optimizer state, averaged weights, virtual workers."""
        return [
            *self.model.weights,
            *generator_states(self.model),
            *self.trained.optimizer.variables,
            *(self.average.variables if self.average else []),
            *(self.workers.variables if self.workers else []),
        ]

    @property
    def monitor(self) -> Monitor:
        """What chooses the best epoch."""
        if self.config.training.monitor == TRAIN_LOSS:
            return Monitor("loss", offset=self.loss.offset)
        if (metric := self.metrics.monitored) is None:
            return VALIDATION_LOSS
        is_loss = metric.name in ("loss", "balanced_loss")
        return Monitor(metric.column, metric.higher_is_better, self.loss.offset if is_loss else 0.0)

    def load(self, split: Split, world: World) -> Rows:
        """The rows of a split that this rank owns. All ranks; DataError on every rank where one finds a damaged shard."""
        rows = world.together(
            lambda: self.dataset.load(split, own_shards(world.rank, world.size, self.dataset.num_virtual_shards))
        )
        assert rows is not None
        return rows

    def prepared(self, rows: Rows) -> Rows:
        """The rows as `trained` reads them. Pure."""
        if self.preparation is None:
            return rows
        return replace(rows, features=forward_pass(self.preparation)(rows.features))

    def labelled(self, rows: Rows, world: World) -> LabelledRows:
        """The rows of this rank as an evaluation takes them. Pure."""
        return LabelledRows.of_shards(rows, own_shards(world.rank, world.size, self.dataset.num_virtual_shards))

    def validate(self, world: World, infer: Infer, rows: Rows) -> dict[str, float]:
        """The metrics over the rows of all ranks. All ranks."""
        num_groups = self.dataset.num_virtual_shards
        blocks, train = [self.labelled(rows, world)], TrainLabels.of(self.dataset)
        return metrics_of(world, infer, self.metrics, blocks, num_groups=num_groups, train=train)

    def infer(self, model: Any) -> Infer:
        """What `model` (the whole, its copy, or `trained`) predicts for its rows: logits (N, K), or values. Each call traces it again."""
        return forward_pass(keras.Model(model.input, predicted(model.output, self.head)))
