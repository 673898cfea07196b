"""Counting rows that stand in the table more than once, by 64-bit fingerprints: 8 bytes a row in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import Split
from hvd_train.data.dataset import Dataset
from hvd_train.data.plan import generator


@dataclass(frozen=True)
class Duplicates:
    """Rows with the same features and label as another one."""

    rows: int
    """How many could be left out without losing a different row."""
    val_in_train: int
    test_in_train: int


def count_duplicates(dataset: Dataset) -> Duplicates:
    """Duplicates in and between the splits. Two different rows count as one with a probability of 2^-64 a pair."""
    prints = {split: _fingerprints(dataset, split) for split in ("train", "val", "test")}
    num_rows = sum(map(len, prints.values()))
    distinct = len(np.unique(np.concatenate(list(prints.values()))))
    train = np.unique(prints["train"])
    return Duplicates(
        num_rows - distinct, int(np.isin(prints["val"], train).sum()), int(np.isin(prints["test"], train).sum())
    )


def _fingerprints(dataset: Dataset, split: Split) -> NDArray[np.uint64]:
    multipliers = generator(64).integers(0, 2**64, dataset.schema.num_features + 1, np.uint64) | np.uint64(1)
    parts = []
    for shard in range(dataset.num_virtual_shards):
        rows = dataset.load(split, [shard])
        cells = np.column_stack([rows.features + np.float32(0), rows.labels.astype(np.float32)])  # -0 is 0
        words = cells.view(np.uint32).astype(np.uint64)
        words ^= words >> np.uint64(16)
        sums = (words * multipliers).sum(1, dtype=np.uint64)  # multilinear hashing (Lemire and Kaser 2014)
        parts.append(sums)
    return np.concatenate(parts)
