"""What a dataset tells about its series: their lengths, and how many values are missing within them."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class SeriesFacts(TypedDict):
    """Of all splits. A series ends at its last position that has a value in any channel; the rest of its row is padding."""

    positions: int
    """Of a row: room for the longest series."""
    channels: int
    shortest: int
    longest: int
    num_missing: int
    """Missing values within the series."""


def lengths_of(x_NF: NDArray[np.float32], layout: tuple[int, int]) -> NDArray[np.int64]:
    """(N,) the length of each series of rows (N, C * L) that hold channel after channel.

    >>> lengths_of(np.array([[1, np.nan, 2, np.nan]], np.float32), (4, 1))
    array([3])
    """
    positions, channels = layout
    present_NL = ~np.isnan(x_NF.reshape(-1, channels, positions)).all(1)
    lengths_N: NDArray[np.int64] = np.where(present_NL, np.arange(1, positions + 1), 0).max(1)
    return lengths_N


class RunningLengths:
    """The facts of series that come in blocks of rows."""

    def __init__(self, layout: tuple[int, int]) -> None:
        self._layout = layout
        self._shortest, self._longest, self._num_missing = layout[0], 0, 0

    def add(self, x_NF: NDArray[np.float32]) -> None:
        if not len(x_NF):
            return
        lengths_N = lengths_of(x_NF, self._layout)
        self._shortest = min(self._shortest, int(lengths_N.min()))
        self._longest = max(self._longest, int(lengths_N.max()))
        present = int(np.count_nonzero(~np.isnan(x_NF)))
        self._num_missing += int(lengths_N.sum()) * self._layout[1] - present

    def result(self) -> SeriesFacts:
        positions, channels = self._layout
        return SeriesFacts(
            positions=positions,
            channels=channels,
            shortest=self._shortest,
            longest=self._longest,
            num_missing=self._num_missing,
        )


def series_in_words(facts: SeriesFacts) -> str:
    """The facts in the words of a message.

    >>> series_in_words(SeriesFacts(positions=29, channels=12, shortest=7, longest=29, num_missing=0))
    'series of 7 to 29 positions x 12 channels, padded to 29, 0 missing values'
    """
    shortest, longest = facts["shortest"], facts["longest"]
    lengths = f"{shortest} to {longest}" if shortest < longest else str(longest)
    padded = f", padded to {facts['positions']}" if shortest < facts["positions"] else ""
    return (
        f"series of {lengths} positions x {facts['channels']} channels{padded}, {facts['num_missing']:,} missing values"
    )
