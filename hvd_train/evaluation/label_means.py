"""Means in which each label counts alike, however many rows it has: the mean over labels of the mean of each label.

Exact over all ranks: sums are kept by group of rows, as all others are, so no figure depends on the number of ranks.
numpy only. Shape letters: N rows, K labels, G groups of rows, T terms of a row.
"""

from __future__ import annotations

import numpy as np


def sums_of_labels(
    terms_NT: np.ndarray, targets_N: np.ndarray, num_labels: int, group_starts: np.ndarray
) -> np.ndarray:
    """(G, K * (1 + T)): of each label the number of its rows and the sums of their terms, group by group.

    `targets_N` are class indices, `group_starts` (G,) the first rows of the groups.
    """
    weights = np.column_stack([np.ones(len(terms_NT)), terms_NT])
    starts, ends = group_starts, np.append(group_starts[1:], len(terms_NT))
    return np.stack([_of_group(weights[a:b], targets_N[a:b], num_labels) for a, b in zip(starts, ends, strict=True)])


def _of_group(weights: np.ndarray, targets: np.ndarray, num_labels: int) -> np.ndarray:
    columns = [np.bincount(targets, column, minlength=num_labels) for column in weights.T]
    return np.stack(columns, axis=1).ravel()


def means_over_labels(sums: np.ndarray, num_labels: int) -> np.ndarray:
    """(T,) from the sums (K * (1 + T),) over all groups; NaN where no label has a row."""
    by_label = sums.reshape(num_labels, -1)
    seen = by_label[by_label[:, 0] > 0]
    if not len(seen):
        return np.full(by_label.shape[1] - 1, np.nan)
    return np.asarray((seen[:, 1:] / seen[:, :1]).mean(axis=0))
