"""Sets an experiment up from its config: opens the data, resolves the automatic defaults, builds and compiles the model.

All ranks call this with equal arguments, and get equal results but for the rows.
"""

from __future__ import annotations

from dataclasses import replace

from hvd_train.config import RunConfig
from hvd_train.distributed import World
from hvd_train.evaluation import (
    TrainLabels,
    metric_set,
)
from hvd_train.events import Observer, Watch
from hvd_train.training.automatic_defaults import resolve_defaults
from hvd_train.training.compile import compile_experiment, input_spec
from hvd_train.training.experiment import Experiment
from hvd_train.training.open_data import open_dataset
from hvd_train.training.precision.choice import resolve_precision
from hvd_train.training.user_code.own_code import require_own_code


def set_up(config: RunConfig, world: World, observer: Observer, watch: Watch) -> Experiment:
    """The experiment that `config` describes, ready to train. All ranks."""
    require_own_code(config, world)
    dataset = open_dataset(config, world, observer, watch)
    config, batches = resolve_defaults(config, dataset, world)
    # On the root alone: a transform is fitted by matrix multiplications, whose last bits depend on the CPU.
    spec = world.together(lambda: input_spec(config, dataset), on="root")
    assert spec is not None
    config = resolve_precision(config, dataset, batches, world, observer, spec)
    experiment = compile_experiment(config, dataset, batches, world, spec)
    own, monitor = config.evaluation.metrics, config.training.monitor
    metrics = world.together(lambda: metric_set(own, experiment.metrics.spec, TrainLabels.of(dataset), monitor=monitor))
    assert metrics is not None
    return replace(experiment, metrics=metrics)
