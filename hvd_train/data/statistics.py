"""Means and standard deviations of columns, added up block by block without losing small spreads on large values.

Blocks are merged by the update of Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for
computing sample variances", Stanford STAN-CS-79-773.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from hvd_train.files import strict, strict_arrays

MIN_ROWS = 2
MAX_RARITY = 500
"""What fewer than one in so many rows have says nothing of other rows."""


def least_rows(num_rows: int) -> float:
    """Of so many train rows at least these must have a text, or lack a value, for it to have a column of its own."""
    return max(MIN_ROWS, num_rows / MAX_RARITY)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of the train split. All arrays are (F,)."""

    mean: NDArray[np.float64]
    """Without the missing cells; 0 where all are missing."""
    std: NDArray[np.float64]
    """The population's standard deviation (divided by the count), without the missing cells."""
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    num_missing: NDArray[np.int64]
    constant: NDArray[np.bool_]
    """Columns with a single value, or none."""
    label_mean: float | None = None
    """Of the train labels, for values; also std and median."""
    label_std: float | None = None
    label_median: float | None = None

    def to_json(self) -> dict[str, Any]:
        arrays = ("mean", "std", "minimum", "maximum", "num_missing", "constant")
        labels = ("label_mean", "label_std", "label_median")
        return {a: getattr(self, a).tolist() for a in arrays} | {v: getattr(self, v) for v in labels}

    @classmethod
    def from_json(cls, data: dict[str, Any], *, num_features: int | None = None) -> Statistics:
        """What `to_json` gave, of that many columns. Raises strict.Damaged."""
        given = strict.read(dict[str, Any], data, "statistics")
        dtypes = {"num_missing": np.int64, "constant": np.bool_}
        fields: dict[str, Any] = {}
        for name in (field.name for field in dataclasses.fields(cls) if field.name in given):
            where = f"statistics.{name}"
            if name.startswith("label_"):
                fields[name] = strict.read(Union[float, None], given[name], where)  # noqa: UP007
            else:
                kind = dtypes.get(name, np.float64)
                fields[name] = strict_arrays.numbers(given[name], where, length=num_features, kind=kind)
        if given.keys() - fields.keys():
            raise strict.Damaged(f"statistics has unknown entries: {', '.join(sorted(given.keys() - fields.keys()))}")
        return cls(**fields)

    def often_missing(self, num_rows: int) -> tuple[int, ...]:
        """The columns where so many of the `num_rows` rows lack a value that it can mean something, but not all do."""
        least = least_rows(num_rows)
        return tuple(np.flatnonzero((self.num_missing >= least) & (self.num_missing < num_rows)).tolist())

    def of_channels(self, num_rows: int, num_channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation (F,) of all values of the channel that a column belongs to, by the `num_rows` rows."""
        means, stds, counts = (
            array.reshape(num_channels, -1) for array in (self.mean, self.std, num_rows - self.num_missing)
        )
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        mean = (shares * means).sum(axis=1, keepdims=True)
        variance = (shares * (stds**2 + (means - mean) ** 2)).sum(axis=1, keepdims=True)
        return (
            np.repeat(mean, means.shape[1], axis=1).reshape(-1),
            np.repeat(np.sqrt(variance), means.shape[1], axis=1).reshape(-1),
        )


class RunningStatistics:
    """Statistics of features that come in blocks."""

    def __init__(self, num_features: int) -> None:
        self._num_rows = 0
        self._count = np.zeros(num_features, np.int64)
        self._mean = np.zeros(num_features)
        self._sum_squares = np.zeros(num_features)  # of the differences from the mean
        self._minimum = np.full(num_features, np.inf)
        self._maximum = np.full(num_features, -np.inf)

    def add(self, features: NDArray[np.float32]) -> None:
        """Add rows (n, F); NaN is a missing cell."""
        if len(features) == 0:
            return
        values = features.astype(np.float64)
        missing = np.isnan(values)
        count = np.full(values.shape[1], len(values), np.int64)
        if missing.any():
            count -= missing.sum(0)
            np.copyto(values, 0.0, where=missing)
        divisor = np.maximum(count, 1)
        # The first mean carries the rounding of a long sum of large numbers; the mean of what remains corrects it.
        mean = values.sum(0) / divisor
        values -= mean
        np.copyto(values, 0.0, where=missing)
        correction = values.sum(0) / divisor
        # Not einsum, which may add up and multiply at once: the checksum of the data covers these figures, and every CPU
        # must come to the same bits. Elementwise operations do.
        sum_squares = np.square(values).sum(0) - count * correction**2
        mean += correction
        self._merge(count, mean, sum_squares)
        self._num_rows += len(features)
        with np.errstate(invalid="ignore"):
            self._minimum = np.fmin(self._minimum, np.fmin.reduce(features, 0))
            self._maximum = np.fmax(self._maximum, np.fmax.reduce(features, 0))

    def merge(self, later: RunningStatistics) -> None:
        """Add the rows of one block, which `later` alone has seen: the same bits as by `add`."""
        if later._num_rows == 0:
            return
        self._merge(later._count, later._mean, later._sum_squares)
        self._num_rows += later._num_rows
        self._minimum = np.fmin(self._minimum, later._minimum)
        self._maximum = np.fmax(self._maximum, later._maximum)

    def _merge(self, count: NDArray[np.int64], mean: NDArray[np.float64], sum_squares: NDArray[np.float64]) -> None:
        total = self._count + count
        share = count / np.maximum(total, 1)
        delta = np.where(count > 0, mean - self._mean, 0.0)
        self._mean += delta * share
        self._sum_squares += sum_squares + delta**2 * self._count * share
        self._count = total

    def result(self, labels: NDArray[np.float64] | None = None) -> Statistics:
        """The statistics so far; `labels` are the train labels where they are values."""
        empty = self._count == 0
        minimum, maximum = np.where(empty, 0.0, self._minimum), np.where(empty, 0.0, self._maximum)
        std = np.sqrt(np.maximum(self._sum_squares, 0.0) / np.maximum(self._count, 1))
        constant = minimum == maximum
        return Statistics(
            # A constant's mean is itself: no rounding may make it look like a tiny spread.
            mean=np.where(constant, minimum, self._mean),
            std=np.where(constant, 0.0, std),
            minimum=minimum,
            maximum=maximum,
            num_missing=self._num_rows - self._count,
            constant=constant,
            label_mean=None if labels is None else float(labels.mean()),
            label_std=None if labels is None else float(labels.std()),
            label_median=None if labels is None else float(np.median(labels)),
        )
