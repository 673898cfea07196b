"""The final evaluation: the best epoch on the validation and test splits, at a temperature fitted on the former."""

from __future__ import annotations

from typing import Any

from hvd_train.config import Split
from hvd_train.distributed import World
from hvd_train.evaluation import Evaluation, TrainLabels, at_temperature, evaluate_rows, fitted_temperature
from hvd_train.runs import EVALUATED_SPLITS
from hvd_train.training.experiment import Experiment


def evaluate_final(experiment: Experiment, world: World, model: Any) -> tuple[dict[Split, Evaluation], float]:
    """The evaluation of `model`, which reads plain rows, by split, and its temperature. All ranks."""
    dataset, metrics = experiment.dataset, experiment.metrics
    infer, temperature = experiment.infer(model), 1.0
    rows = {split: experiment.labelled(experiment.load(split, world), world) for split in EVALUATED_SPLITS}
    if experiment.config.objective.calibrate:
        temperature = fitted_temperature(world, infer, metrics, rows["val"])
        infer = at_temperature(infer, temperature)
    train, num_groups = TrainLabels.of(dataset), dataset.num_virtual_shards
    evaluations = {
        split: evaluate_rows(
            world, infer, metrics, train, [rows[split]], num_groups=num_groups, optimum=dataset.optimum(split)
        )
        for split in EVALUATED_SPLITS
    }
    return evaluations, temperature
