"""Synthetic songs. A first plain version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hvd_train.data.plan import generator
from hvd_train.data.schema import SONG_FEATURES, SONG_YEARS, Columns
from hvd_train.data.sources.base import Chunk, Table

SYNTHETIC_VERSION = 1
_CHUNK_ROWS = 10_000


class SyntheticSongs(Table):
    """`num_songs` made-up songs as a table."""

    path = Path("synthetic songs")
    columns = ("year", *SONG_FEATURES)
    is_named = True
    is_songs = True

    def __init__(self, num_songs: int, seed: int = 0) -> None:
        self.num_songs, self.seed = num_songs, seed

    def stamp(self) -> tuple[int, int]:
        return 0, 0

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        for start in range(0, self.num_songs, _CHUNK_ROWS):
            count = min(_CHUNK_ROWS, self.num_songs - start)
            random = generator(self.seed, 21, start)
            years = SONG_YEARS[-1] - np.minimum(random.exponential(12.0, count).astype(int), 89)
            signal = (years - 1998.0) / 11.0
            features = random.standard_normal((count, 90)) * 30.0
            features[:, :12] += 10.0 * signal[:, None]
            features[:, 12:24] += 20.0 * signal[:, None] ** 2
            yield Chunk(
                features[:, np.array(columns.features) - 1].astype(np.float32, order="C"), years.astype(np.float64)
            )
