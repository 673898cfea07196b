"""Whether 32-bit floats can hold what a column of a table says: at 1e9 they are 64 apart.

What a table holds is compared with what is stored of it, by each column's least and greatest cell before rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hvd_train.errors import DataError

LEAST_STEPS = 4
"""A column whose cells lie within fewer steps of 32-bit floats is refused, unless its ends are such floats."""
# TensorFlow takes smaller numbers (subnormal) for zero.
LEAST_NORMAL = float(np.finfo(np.float32).tiny)


def steps_of_float32(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far apart the 32-bit floats are that TensorFlow computes with, at these sizes."""
    with np.errstate(over="ignore"):
        apart = np.spacing(np.minimum(np.abs(sizes), np.finfo(np.float32).max).astype(np.float32)).astype(np.float64)
    return np.maximum(apart, LEAST_NORMAL)


def extremes_of(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, F) the least and the greatest of each column of cells (n, F); NaN where all are missing."""
    if len(cells) == 0:
        return np.full((2, cells.shape[1]), np.nan)
    return np.stack([np.fmin.reduce(cells, 0), np.fmax.reduce(cells, 0)])


def joined(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, F) the extremes of two blocks of rows."""
    return np.stack([np.fmin(one[0], other[0]), np.fmax(one[1], other[1])])


def require_held(path: object, names: tuple[str, ...], extremes: NDArray[np.float64], *, what: str) -> None:
    """DataError naming the first column whose variation 32-bit floats lose; `extremes` (2, F) before rounding."""
    low, high = extremes
    with np.errstate(over="ignore", invalid="ignore"):
        exact = (low.astype(np.float32) == low) & (high.astype(np.float32) == high)
        lost = (high > low) & (high - low < LEAST_STEPS * steps_of_float32(np.fmax(-low, high))) & ~exact
    if not lost.any():
        return
    column = int(lost.argmax())
    step = steps_of_float32(np.fmax(-low, high))[column]
    way_out = "Choose a larger unit for it" if step == LEAST_NORMAL else "Subtract an offset from it"
    others = f" (and {int(lost.sum()) - 1} more columns)" if lost.sum() > 1 else ""
    leave_out = ", or leave it out by --drop" if what == "column" else ""
    raise DataError(
        f"{path}: the {what} {names[column]!r}{others} runs from {low[column]:.12g} to {high[column]:.12g}, which 32-bit "
        f"floats cannot tell apart: there they are {step:.3g} apart, and at least {LEAST_STEPS} steps are needed. "
        f"{way_out} in the table{leave_out}."
    )
