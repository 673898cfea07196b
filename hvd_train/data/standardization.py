"""Columns and labels to mean 0 and standard deviation 1, in float32 and in any unit.

The deviation from a mean is not squared and is compared with no fixed limit: 1e-30 and 1e30 are units like any other.
Multiplying a column by a power of two changes no bit of what comes out, since every step scales exactly; multiplying it
by another factor changes its rounding alone. Shape letters: F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the powers of two that a column is multiplied by: both ends and what they make of a column are normal float32
# numbers. TensorFlow takes smaller ones (subnormal) for zero.
MAX_EXPONENT = 126


@dataclass(frozen=True, eq=False)
class Standard:
    """z = (x * to_unit - middle) * factor + rest. All arrays are (F,) float32.

    `to_unit` is the power of two that brings the standard deviation to about 1, so nothing after it can overflow. The
    mean is subtracted before the column is scaled, as `middle`, and what float32 rounded off it comes last, as `rest`:
    a mean of 1e8 with a standard deviation of 100 leaves no error in z.
    """

    to_unit: NDArray[np.float32]
    middle: NDArray[np.float32]
    factor: NDArray[np.float32]
    rest: NDArray[np.float32]

    @classmethod
    def of(cls, mean: NDArray[np.float64], std: NDArray[np.float64]) -> Standard:
        """For columns of this mean and standard deviation (F,). A constant column (`std` 0) comes out as 0 throughout."""
        varies = std > 0
        exponent = np.clip(np.frexp(np.where(varies, std, 1.0))[1], -MAX_EXPONENT, MAX_EXPONENT)
        mean_in_unit, std_in_unit = np.ldexp(mean, -exponent), np.ldexp(np.where(varies, std, 1.0), -exponent)
        middle = mean_in_unit.astype(np.float32)
        rest = (middle.astype(np.float64) - mean_in_unit) / std_in_unit
        every = (np.ldexp(1.0, -exponent), middle, 1 / std_in_unit, rest)
        return cls(*(np.where(varies, part, 0.0).astype(np.float32) for part in every))

    def apply(self, x_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, F) plain rows -> (N, F) standardised, as the model's layers do it; NaN stays NaN."""
        z: NDArray[np.float32] = (x_NF * self.to_unit - self.middle) * self.factor + self.rest
        return z
