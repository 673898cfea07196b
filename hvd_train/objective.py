"""What training makes small, from config and labels: the loss in use, the targets, the weights. numpy only.

Shape letters: K labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hvd_train.config import RunConfig
from hvd_train.data import Dataset
from hvd_train.data.balance import loss_weights
from hvd_train.data.targets import make_target_table
from hvd_train.errors import ConfigError

SOFTMAX = ("cross-entropy", "focal")
ORDINAL = ("coral", "corn")
VALUE = ("mse", "mae", "huber", "gaussian")


def loss_in_use(config: RunConfig, label_kind: str) -> str:
    """The loss for labels of this kind, or ConfigError where they do not go together."""
    loss = config.objective.loss
    if loss == "auto":
        return "mse" if label_kind == "values" else "cross-entropy"
    if label_kind == "values" and loss not in VALUE:
        raise ConfigError(
            f"loss = {loss!r} is not possible: the labels are real values. Choose {', '.join(VALUE)}, or bin them "
            f"with --label-kind integers."
        )
    if label_kind == "classes" and loss not in SOFTMAX:
        raise ConfigError(
            f"loss = {loss!r} is not possible: the labels are names, without order or distance. Choose {' or '.join(SOFTMAX)}."
        )
    if (
        loss in VALUE
        and label_kind != "values"
        and (config.data.targets != "one-hot" or config.objective.label_smoothing)
    ):
        raise ConfigError(
            f"loss = {loss!r} is not possible with soft targets: it is trained on the label itself. Leave out --targets "
            f"and --label-smoothing, or choose cross-entropy."
        )
    return loss


@dataclass(frozen=True)
class Objective:
    """What a row is trained towards."""

    loss: str
    table: np.ndarray | None
    """(K, K) shares of the labels, or (K, 1) the label itself; None for class indices and for real values."""
    weights: np.ndarray | None
    """(K,) of the rows' losses by label; None for equal ones."""

    @classmethod
    def of(cls, dataset: Dataset, config: RunConfig) -> Objective:
        """From the config, or ConfigError where it does not go with this kind of label. Pure."""
        data, schema = config.data, dataset.schema
        loss = loss_in_use(config, schema.label_kind)
        weights = loss_weights(dataset, data)
        if schema.label_kind == "values":
            # Refuses targets that are made of labels.
            table = make_target_table(schema, data) if data.targets != "one-hot" else None
        elif loss in VALUE:
            table = np.asarray(schema.label_values, np.float32)[:, None]
        else:
            smoothing = config.objective.label_smoothing
            hard = loss == "cross-entropy" and data.targets == "one-hot" and not data.mixup_alpha and not smoothing
            table = None if hard else smoothed(make_target_table(schema, data), smoothing)
        return cls(loss, table, weights)


def smoothed(table_KK: np.ndarray, share: float) -> np.ndarray:
    """Rows with `share` of each spread evenly over all labels (Szegedy et al. 2016, arXiv 1512.00567)."""
    return np.asarray((1 - share) * table_KK + share / table_KK.shape[1], np.float32)
