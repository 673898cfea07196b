"""What predicting without looking at the features achieves: the figures that a model must beat."""

from __future__ import annotations

import numpy as np

from hvd_train.config import Split
from hvd_train.data.dataset import Dataset


def baselines(dataset: Dataset, split: Split) -> dict[str, tuple[float, str]]:
    """Figures on `split` of constants chosen on the train split: name -> (figure, what was predicted)."""
    schema = dataset.schema
    if schema.label_kind == "values":
        labels = dataset.features_and_labels(split)[1].astype(np.float64)
        mean, median = dataset.statistics.label_mean or 0.0, dataset.statistics.label_median or 0.0
        return {
            "rmse": (float(np.sqrt(np.mean((labels - mean) ** 2))), f"always the mean, {mean:.5g}"),
            "mae": (float(np.mean(np.abs(labels - median))), f"always the median, {median:.5g}"),
        }
    train, counts = dataset.label_counts("train"), dataset.label_counts(split)
    most_common = int(train.argmax())
    total = counts.sum()
    figures = {
        "accuracy": (float(counts[most_common] / total), f"always the most common, {schema.label_values[most_common]}")
    }
    if schema.label_kind == "classes":
        return figures
    values = np.array(schema.label_values, np.float64)
    mean = float(train @ values / train.sum())
    median = float(values[(np.cumsum(train) >= train.sum() / 2).argmax()])
    figures["rmse"] = (float(np.sqrt(counts @ (values - mean) ** 2 / total)), f"always the mean, {mean:.2f}")
    figures["mae"] = (float(counts @ np.abs(values - median) / total), f"always the median, {median:g}")
    return figures
