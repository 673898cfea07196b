"""Small matrices by additions, multiplications, divisions and square roots of whole arrays, in a fixed order.

IEEE 754 rounds each of these in one way, so the bits are the same on every CPU. A matrix multiplication of BLAS, LAPACK's
eigenvalues and numpy's exp or log are not: their last bits depend on the kernel, its threads and the SIMD level. Songs
that hosts make for themselves must be equal byte for byte. Batches of matrices are (T, T, n), the batch last: numpy's
loops then run over it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Each step halves what is far too large, and from 1.5 on all digits are there after 5: enough for eigenvalues of h
# between -96 and 96. Those of songs are between -9 and 9.
_STEPS = 7


def product(left: Array, right: Array) -> Array:
    """(m, k) times (k, n), summed in the order of k."""
    total = np.zeros((len(left), right.shape[1]))
    term = np.empty_like(total)
    for k in range(len(right)):
        np.multiply(left[:, k, None], right[k], out=term)
        total += term
    return total


def cholesky(matrix: Array) -> Array:
    """The lower triangular (T, T) root of a positive definite matrix."""
    root = np.zeros_like(matrix)
    for j in range(len(matrix)):
        column = matrix[j:, j].copy()
        for k in range(j):
            column -= root[j:, k] * root[j, k]
        root[j:, j] = column / np.sqrt(column[0])
    return root


def invert(matrices: Array) -> None:
    """Put the inverses of (T, T, n) in their places: Gauss and Jordan, without pivoting, for positive definite ones."""
    term = np.empty_like(matrices)
    for k in range(len(matrices)):
        pivot = 1.0 / matrices[k, k]
        row, column = matrices[k] * pivot, matrices[:, k].copy()
        column[k] = 0.0
        np.multiply(column[:, None], row, out=term)
        matrices -= term
        matrices[k] = row
        matrices[:, k] = -column * pivot
        matrices[k, k] = pivot


def grown(h: Array) -> Array:
    """m = h/2 + sqrt(1 + h h/4) of symmetric matrices (T, T, n): the function exp(asinh(h/2)).

    The square root by the coupled iteration of Denman and Beavers (1976), a fixed number of steps, so that a matrix
    comes out the same whatever others are computed with it.
    """
    size, num = len(h), h.shape[2]
    root = np.zeros((size, size, num))
    term = np.empty_like(root)
    for k in range(size):
        np.multiply(h[:, k, None], h[k], out=term)
        root += term
    root *= 0.25
    diagonal = np.arange(size)
    root[diagonal, diagonal] += 1.0
    # Eigenvalues are at least 1 and at most this: around 1 on a logarithmic scale they need the fewest steps.
    scale = np.sqrt(np.sqrt(np.abs(root).sum(0).max(0)))
    root /= scale
    inverse_root = np.zeros_like(root)
    inverse_root[diagonal, diagonal] = 1.0
    for step in range(_STEPS):
        np.copyto(term, inverse_root)
        if step > 0:
            invert(term)
        if step < _STEPS - 1:
            other = root.copy()
            invert(other)
            inverse_root += other
            inverse_root *= 0.5
        root += term
        root *= 0.5
    return np.asarray(0.5 * h + root * np.sqrt(scale))
