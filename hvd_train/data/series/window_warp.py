"""Window warping: a window of a series is stretched or squeezed, and the whole is resampled to the length of before.

Le Guennec, Malinowski and Tavenard 2016, "Data augmentation for time series classification using convolutional neural
networks" (https://shs.hal.science/halshs-01357973): a tenth of the series, by a factor of a half or of two. Pure numpy.
Shape letters: N rows, F columns (channel after channel), M warped rows, L positions, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.series.lengths import lengths_of

WINDOW = 0.1
"""Length of the window, as a share of the series."""
FACTORS = (0.5, 2.0)
"""By which its length is multiplied, drawn with equal probability."""
NUM_DRAWN = 3
"""Uniform numbers that a row needs."""


def warped(
    x_NF: NDArray[np.float32], layout: tuple[int, int], u_N3: NDArray[np.float32], probability: float
) -> NDArray[np.float32]:
    """(N, F) the rows, some of them warped; the others are returned as they are.

    `u_N3` are uniform numbers in (0, 1): whether, where, and by which factor. All channels of a series are warped alike, and
    only up to its own end, so padding stays padding. A value lies between its two neighbours in the old time; where one of
    these is missing, it is the nearer one, so it is missing where that is.
    """
    positions, channels = layout
    chosen = np.flatnonzero(u_N3[:, 0] < probability)
    if not len(chosen):
        return x_NF
    x_MF = x_NF[chosen]
    nearer_ML, farther_ML, share_ML = _old_positions(lengths_of(x_MF, layout), u_N3[chosen, 1:], positions)
    x_MCL = x_MF.reshape(-1, channels, positions)
    nearer_MCL = np.take_along_axis(x_MCL, nearer_ML[:, None], axis=2)
    farther_MCL = np.take_along_axis(x_MCL, farther_ML[:, None], axis=2)
    # Halves, whose difference is held by a float32; and equal neighbours stay exactly what they are.
    between_MCL = nearer_MCL + 2 * share_ML[:, None] * (farther_MCL / 2 - nearer_MCL / 2)
    result_NF = x_NF.copy()
    result_NF[chosen] = np.where(np.isnan(farther_MCL), nearer_MCL, between_MCL).reshape(len(chosen), -1)
    return result_NF


def _old_positions(
    lengths_M: NDArray[np.int64], u_M2: NDArray[np.float32], positions: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """(M, L) for each new position: the nearest old one, the neighbour on the other side, and its share, at most a half."""
    t_L = np.arange(positions)
    last_M1 = np.maximum(lengths_M - 1, 0)[:, None]
    window_M1 = WINDOW * last_M1
    begin_M1 = u_M2[:, :1].astype(np.float64) * (last_M1 - window_M1)
    factor_M1 = np.where(u_M2[:, 1:] < 0.5, *FACTORS)
    stretched_M1 = factor_M1 * window_M1
    # In the warped series, which has another length: first the way before the window, then within it, then behind it.
    time_ML = t_L / np.maximum(last_M1, 1) * (last_M1 - window_M1 + stretched_M1)
    old_ML = np.minimum(time_ML, begin_M1)
    old_ML = old_ML + np.clip(time_ML - begin_M1, 0, stretched_M1) / factor_M1
    old_ML = old_ML + np.maximum(time_ML - begin_M1 - stretched_M1, 0)
    nearer_ML = np.rint(old_ML)
    farther_ML = np.clip(nearer_ML + np.sign(old_ML - nearer_ML), 0, last_M1)
    is_padding_ML = t_L > last_M1
    share_ML = np.where(is_padding_ML, 0, np.abs(old_ML - nearer_ML))
    nearer_ML, farther_ML = (np.where(is_padding_ML, t_L, at).astype(np.int64) for at in (nearer_ML, farther_ML))
    return nearer_ML, farther_ML, share_ML.astype(np.float32)
