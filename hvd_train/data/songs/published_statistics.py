"""Published statistics of YearPredictionMSD: hvd_train/data/tables/SOURCES.md says where each comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TABLES = Path(__file__).parent.parent / "tables"


@dataclass(frozen=True, eq=False)
class Published:
    """The real songs in figures. F = 90 features, K = 90 years."""

    year_counts: NDArray[np.int64]
    """(K,) songs per year, 1922 .. 2011."""
    mean: NDArray[np.float64]
    """(F,)"""
    std: NDArray[np.float64]
    """(F,)"""
    year_correlation: NDArray[np.float64]
    """(F,) of each feature with the year."""
    correlation: NDArray[np.float64]
    """(F, F)"""


def load_published() -> Published:
    """The tables that ship with the package."""
    features = np.loadtxt(TABLES / "songs_features.csv", delimiter=",", skiprows=1, usecols=(1, 2, 3))
    return Published(
        year_counts=np.loadtxt(TABLES / "songs_years.csv", delimiter=",", skiprows=1, dtype=np.int64)[:, 1],
        mean=features[:, 0],
        std=features[:, 1],
        year_correlation=features[:, 2],
        correlation=np.loadtxt(TABLES / "songs_correlations.csv", delimiter=","),
    )
