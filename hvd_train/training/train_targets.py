"""What rows are trained towards, from config and labels: the loss in use, the targets, the weights. numpy only.

Shape letters: K labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hvd_train.config import RunConfig
from hvd_train.data import Dataset, loss_weights, make_target_table
from hvd_train.errors import ConfigError
from hvd_train.models import Objective, objective_for

# The error from which huber grows linearly, in years or units of whole-numbered labels.
HUBER_DELTA = 5.0


def loss_in_use(config: RunConfig, label_kind: str) -> tuple[str, Objective]:
    """The loss for labels of this kind and its objective, or ConfigError where they do not go together."""
    loss, objective = objective_for(config.objective.loss, label_kind)
    is_soft = config.objective.targets != "one-hot" or config.objective.label_smoothing
    if is_soft and not objective.takes_shares and label_kind != "values":
        raise ConfigError(
            f"loss = {loss!r} is not possible with soft targets: it is trained on the label itself. Leave out --targets "
            f"and --label-smoothing, or choose cross-entropy."
        )
    return loss, objective


@dataclass(frozen=True)
class TrainTargets:
    """What a row is trained towards."""

    loss: str
    objective: Objective
    table: np.ndarray | None
    """(K, K) shares of the labels, or (K, 1) the label itself, standardised; None for class indices and for real values."""
    weights: np.ndarray | None
    """(K,) of the rows' losses by label; None for equal ones."""
    mean: float = 0.0
    scale: float = 1.0
    """Mean and standard deviation of the train labels, where they are numbers: a value is trained on in these."""
    delta: float = HUBER_DELTA
    """huber: from which error on it grows linearly, in the labels' units."""
    standardises: bool = False
    """Whether targets are the labels themselves, real values."""

    def of_labels(self, labels_N: np.ndarray) -> np.ndarray:
        """What rows of these labels are trained towards: (N, K) shares, (N, 1) or (N,) values, or (N,) class indices."""
        if self.table is not None:
            return np.asarray(self.table[labels_N])
        return standardised(labels_N, self.mean, self.scale) if self.standardises else labels_N

    @classmethod
    def of(cls, dataset: Dataset, config: RunConfig) -> TrainTargets:
        """From the config, or ConfigError where it does not go with this kind of label. Pure."""
        settings, schema = config.objective, dataset.schema
        loss, objective = loss_in_use(config, schema.label_kind)
        weights = loss_weights(dataset, config.sampling)
        is_real = schema.label_kind == "values"
        mean, scale = mean_and_scale(dataset)
        if is_real:
            # Refuses targets that are made of labels.
            table = make_target_table(schema, settings) if settings.targets != "one-hot" else None
        elif not objective.takes_shares:
            table = standardised(np.asarray(schema.label_values, np.float64), mean, scale)[:, None]
        else:
            smoothing, mixup = settings.label_smoothing, config.sampling.mixup_alpha
            hard = objective.takes_indices and settings.targets == "one-hot" and not mixup and not smoothing
            table = None if hard else smoothed(make_target_table(schema, settings), smoothing)
        delta = settings.huber_delta or (scale if is_real else HUBER_DELTA)
        return cls(loss, objective, table, weights, mean, scale, delta, standardises=is_real)


def mean_and_scale(dataset: Dataset) -> tuple[float, float]:
    """Mean and standard deviation of the train labels; 0 and 1 for names."""
    schema = dataset.schema
    if schema.label_kind == "values":
        return dataset.statistics.label_mean or 0.0, dataset.statistics.label_std or 1.0
    if schema.label_kind == "classes":
        return 0.0, 1.0
    share, values = (
        dataset.label_counts("train") / dataset.num_rows("train"),
        np.asarray(schema.label_values, np.float64),
    )
    mean = float((share * values).sum())
    return mean, float(np.sqrt((share * (values - mean) ** 2).sum())) or 1.0


def standardised(values_N: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """(N,) float32 in standard deviations from the mean, computed in float64: any unit is as good as another."""
    return np.asarray((values_N.astype(np.float64) - mean) / scale, np.float32)


def smoothed(table_KK: np.ndarray, share: float) -> np.ndarray:
    """Rows with `share` of each spread evenly over all labels (Szegedy et al. 2016, arXiv 1512.00567)."""
    return np.asarray((1 - share) * table_KK + share / table_KK.shape[1], np.float32)
