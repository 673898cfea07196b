"""Finding features that number the rows: an index that came with the table, and tells the order of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_ROWS = 10
"""Fewer rows may rise by coincidence."""
_FIRST_ROWS = 64
"""Looked at first: hardly a feature rises through them."""
_EXACT = np.float32(2**24)
"""From here on a 32-bit float cannot hold each whole number, so neighbours may be equal."""


class RowNumbers:
    """Watches features that come in blocks for those that are whole numbers and rise from each row to the next."""

    def __init__(self, num_features: int) -> None:
        self._rising = np.arange(num_features)
        self._last = np.full((1, num_features), -np.inf, np.float32)
        self._first: NDArray[np.float32] | None = None
        self._num_rows = 0

    def add(self, features: NDArray[np.float32]) -> None:
        """Add rows (n, F)."""
        if self._first is None and len(features):
            self._first = features[0].copy()
        for rows in (features[:_FIRST_ROWS], features[_FIRST_ROWS:]):
            if len(rows) and len(self._rising):
                cells = rows[:, self._rising]
                before = np.concatenate([self._last, cells[:-1]])
                rises = (cells > before) | ((cells == before) & (cells >= _EXACT))
                keep = (rises & (cells == np.floor(cells)) & np.isfinite(cells)).all(0)
                self._rising, self._last = self._rising[keep], cells[-1:, keep]
        self._num_rows += len(features)

    def append(self, later: RowNumbers) -> None:
        """Add the rows that `later` has seen, which come next."""
        if later._first is None:
            return
        if self._first is None:
            self._first, self._rising, self._last, self._num_rows = (
                later._first,
                later._rising,
                later._last,
                later._num_rows,
            )
            return
        shared, here, there = np.intersect1d(self._rising, later._rising, return_indices=True)
        last, first = self._last[0, here], later._first[shared]
        keep = (first > last) | ((first == last) & (first >= _EXACT))
        self._rising, self._last = shared[keep], later._last[:, there[keep]]
        self._num_rows += later._num_rows

    def result(self) -> tuple[int, ...]:
        """The features that rose through all rows."""
        return tuple(self._rising.tolist()) if self._num_rows >= MIN_ROWS else ()
