"""The rows that a peer learns from or is judged on. Shared by the programs of peers."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.config import Split
from hvd_train.data import Dataset


def rows_of(dataset: Dataset, split: Split) -> tuple[np.ndarray, np.ndarray[Any, Any]]:
    """(N, F) features and (N,) labels as the table has them: the names of classes, or real numbers."""
    features, labels = dataset.features_and_labels(split)
    kind = dataset.schema.label_kind
    if kind != "values":
        labels = np.array(dataset.schema.label_values)[labels]
    return features, labels if kind == "classes" else labels.astype(float)
