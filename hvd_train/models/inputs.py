"""From plain rows to what a network reads: missing values, normalisation, layout. These layers stand in the model.

Shape letters: N rows, F features, L positions, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# A constant column says nothing; with this variance it comes out as (almost exactly) zero whatever it holds later.
CONSTANT_VARIANCE = 1e30


@dataclass(frozen=True)
class InputSpec:
    """The train split's statistics and the layout. `mean` and `std` are float64 (F,)."""

    mean: np.ndarray
    std: np.ndarray
    layout: tuple[int, int]
    """Positions and channels; the columns hold channel after channel."""

    @property
    def num_features(self) -> int:
        return len(self.mean)


def positions_and_channels(x_NF: Any, spec: InputSpec) -> Any:
    """(N, F) plain rows -> (N, L, C) normalised, missing values at their column's mean."""
    num_positions, num_channels = spec.layout
    variance = np.where(spec.std > 0, spec.std**2, CONSTANT_VARIANCE)
    # In float32 whatever the network computes in: 8 bits of a feature far from zero would leave nothing of its spread.
    x_NF = keras.layers.Normalization(mean=spec.mean, variance=variance, name="normalise", dtype="float32")(x_NF)
    # After normalisation a column's mean is zero.
    x_NF = keras.ops.nan_to_num(x_NF, nan=0.0)
    x_NCL = keras.layers.Reshape((num_channels, num_positions), name="channels")(x_NF)
    return keras.layers.Permute((2, 1), name="positions")(x_NCL)
