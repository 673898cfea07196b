"""Balance of rare labels: how often each label is drawn, and the weight of the loss of each row.

Counts are those of the whole train split, so that every rank computes the same numbers. K outputs, V virtual shards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SamplingConfig
from hvd_train.data.dataset import Dataset
from hvd_train.data.plan import EpochPlan, Repeats
from hvd_train.errors import ConfigError

Array = NDArray[np.float64]
_FIT_TURNS = 2000


def make_plan(
    dataset: Dataset, sampling: SamplingConfig, *, seed: int, rows_per_shard_step: int, passes: int = 1
) -> EpochPlan:
    """The plan of the train rows as `sampling.balance` wants them, `passes` steps an update; `order` needs the rows' labels with repeat."""
    sizes = dataset.shard_sizes("train")
    plan = EpochPlan(seed, sizes, rows_per_shard_step, passes=passes)
    if sampling.balance != "repeat":
        return plan
    shares = label_shares(dataset, sampling)
    draws = draws_per_epoch(dataset.shard_label_counts(), shares, plan.rows_per_shard)
    return EpochPlan(seed, sizes, rows_per_shard_step, repeats=Repeats(draws), passes=passes)


def label_shares(dataset: Dataset, sampling: SamplingConfig) -> Array:
    """(K,) share of the drawn train rows that each label gets. Raises ConfigError for values."""
    counts = _counts(dataset, sampling)
    if sampling.balance != "repeat":
        natural: Array = counts / counts.sum()
        return natural
    limit = sampling.balance_max_repeats or np.inf
    return balanced_shares(counts, evenness=sampling.balance_evenness, max_repeats=limit)


def loss_weights(dataset: Dataset, sampling: SamplingConfig) -> NDArray[np.float32] | None:
    """(K,) weight of a train row's loss by its label, with mean 1 over the train rows; None where all weigh the same.

    The same on every rank. Validation and test are never weighted. Raises ConfigError for values.
    """
    if sampling.balance in ("none", "repeat"):
        return None
    counts = _counts(dataset, sampling)
    smoothed = smoothed_counts(dataset.label_counts("train"), dataset.schema.label_values, sampling.lds_sigma)
    weights = class_weights(sampling.balance, np.where(counts > 0, smoothed, 0.0))
    normalised: Array = weights / (weights @ counts / counts.sum())
    return normalised.astype(np.float32)


def _counts(dataset: Dataset, sampling: SamplingConfig) -> Array:
    if dataset.schema.label_kind == "values":
        raise ConfigError(
            f"balance = {sampling.balance!r} is not possible: the labels are values, which have no counts."
        )
    return dataset.label_counts("train").astype(np.float64)


def smoothed_counts(counts: NDArray[np.int64], label_values: tuple[int | str, ...], sigma: float) -> Array:
    """(K,) counts under a Gaussian kernel over the labels' values, `sigma` in their unit (years); 0: as they are.

    Label-distribution smoothing (LDS) of Yang, Zha, Chen, Wang and Katabi (2021), "Delving into deep imbalanced
    regression", ICML: what a network learns from a label's neighbours counts for the label too. Raises ConfigError
    where labels are names, which have no neighbours.
    """
    if sigma == 0:
        return counts.astype(np.float64)
    if any(isinstance(value, str) for value in label_values):
        raise ConfigError(f"lds_sigma = {sigma} is not possible: the labels are names, which have no neighbours.")
    values = np.array(label_values, np.float64)
    kernel = np.exp(-0.5 * ((values[:, None] - values[None, :]) / sigma) ** 2)
    smoothed: Array = kernel @ counts / kernel.sum(1)
    return smoothed


def class_weights(kind: str, counts: Array, *, effective_beta: float = 0.999) -> Array:
    """(K,) weight of a row's loss by its label; the mean over the rows is 1, and labels without rows weigh 0.

    inverse: 1 / n. sqrt-inverse: 1 / sqrt(n). effective-number: (1 - beta) / (1 - beta^n) of Cui, Jia, Lin, Song and
    Belongie (2019), "Class-balanced loss based on effective number of samples", CVPR.
    """
    present = counts > 0
    n = np.where(present, counts, 1.0)
    if kind == "inverse":
        weights = 1 / n
    elif kind == "sqrt-inverse":
        weights = 1 / np.sqrt(n)
    elif kind == "effective-number":
        weights = (1 - effective_beta) / -np.expm1(n * np.log(effective_beta))
    else:
        raise ConfigError(f"balance = {kind!r} is unknown: none, repeat, inverse, sqrt-inverse or effective-number.")
    weights = np.where(present, weights, 0.0)
    mean: Array = weights / (weights @ counts / counts.sum())
    return mean


def balanced_shares(counts: Array, *, evenness: float, max_repeats: float = np.inf) -> Array:
    """(K,) the share of the drawn rows that each label gets: proportional to n^(1 - evenness), summing to 1.

    evenness 0 leaves the labels as they are, 1 gives each label with any row the same share. No row is drawn more than
    `max_repeats` times in an epoch as long as the table; what that takes from rare labels goes to the others.
    """
    present = counts > 0
    natural = counts / counts.sum()
    ceiling = np.where(present, natural, 1.0) * max_repeats
    wanted = np.where(present, np.where(present, counts, 1.0) ** (1.0 - evenness), 0.0)
    capped = np.zeros(len(counts), np.bool_)
    shares = np.zeros(len(counts))
    while True:
        free = present & ~capped
        rest = 1.0 - ceiling[capped].sum()
        shares[capped] = ceiling[capped]
        shares[free] = wanted[free] / wanted[free].sum() * rest
        over = free & (shares > ceiling * (1 + 1e-12))
        if not over.any():
            return shares
        capped |= over


def draws_per_epoch(shard_counts: NDArray[np.int64], shares: Array, rows_per_shard: int) -> Array:
    """(V, K) rows of each label that each shard gives to an epoch, as real numbers.

    Every shard gives `rows_per_shard` rows, and all together give each label its share. Where a shard has no row of a
    rare label, others give more: the table is found by iterative proportional fitting (Sinkhorn and Knopp, 1967) from
    what each shard has.
    """
    num_shards = len(shard_counts)
    totals = shares * rows_per_shard * num_shards
    counts = np.maximum(shard_counts.sum(0), 1)
    table: Array = shard_counts * (totals / counts)
    for _ in range(_FIT_TURNS):
        table *= rows_per_shard / np.maximum(table.sum(1, keepdims=True), 1e-300)
        column = table.sum(0)
        table *= np.divide(totals, column, out=np.zeros_like(totals), where=column > 0)
        if np.abs(table.sum(1) - rows_per_shard).max() < 1e-9 * rows_per_shard:
            break
    # Each shard's sum must hold: whole rows are cut from it.
    table *= rows_per_shard / np.maximum(table.sum(1, keepdims=True), 1e-300)
    return table
