"""The generator of synthetic songs, as a table that is converted like any other."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS, Split
from hvd_train.data.plan import generator
from hvd_train.data.schema import NUM_OFFICIAL_TRAIN_SONGS, SONG_FEATURES, SONG_YEARS, Columns
from hvd_train.data.songs import exact
from hvd_train.data.songs.model import NUM_FEATURES, SongModel
from hvd_train.data.songs.optimum import best_figures
from hvd_train.data.sources.base import Chunk, Table

SYNTHETIC_VERSION = 4
"""Goes up whenever the same seed would give other songs."""
SONGS_PER_ARTIST = 18.3
"""515,345 songs by 28,223 artists (https://archive.ics.uci.edu/dataset/203/yearpredictionmsd)."""
CAREER = 0.08
"""How far an artist's songs lie apart in time, as a share of all songs."""
_ARTISTS_PER_BLOCK = 256
_STREAM = 21


class SyntheticSongs(Table):
    """`num_songs` made-up songs, artist after artist as in the real table; fewer songs are the first of more."""

    path = Path("synthetic songs")
    columns = ("year", *SONG_FEATURES)
    is_named = True
    is_songs = True

    def __init__(self, num_songs: int, seed: int = 0) -> None:
        self.num_songs, self.seed = num_songs, seed
        self.model = SongModel.load()
        self._artist_starts: list[int] = []

    def stamp(self) -> tuple[int, int]:
        return self.num_songs, 0

    def bytes_read(self) -> int:
        return self._artist_starts[-1] if self._artist_starts else 0

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        picked = np.array(columns.features) - 1
        self._artist_starts, num_songs, block = [], 0, 0
        while num_songs < self.num_songs:
            sizes, years, v = self._draw(block, num_songs)
            keep = min(len(years), self.num_songs - num_songs)
            starts = num_songs + np.cumsum(sizes) - sizes
            self._artist_starts += starts[starts < self.num_songs].tolist()
            features = self.model.features(v[:keep])[:, picked]
            yield Chunk(np.ascontiguousarray(features, np.float32), years[:keep].astype(np.float64))
            num_songs, block = num_songs + keep, block + 1

    def first_of_group(self, row: int) -> int:
        """Where the songs of the artist of song `row` begin: a split there has no artist on both sides."""
        return self._artist_starts[max(0, bisect.bisect_right(self._artist_starts, row) - 1)]

    def facts(self, load: Callable[[Split], tuple[NDArray[np.float32], NDArray[Any]]]) -> dict[str, Any]:
        """The best possible figures of val and test, where all features are kept."""
        optimum = {}
        for split in SPLITS[1:]:
            features, labels = load(split)
            if features.shape[1] == NUM_FEATURES:
                optimum[split] = best_figures(self.model.posterior(features), np.array(SONG_YEARS), labels)
        return {"optimum": optimum} if optimum else {}

    def _draw(self, block: int, start: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Songs of each artist (A,), and year (n,) and v (n, F) of each song of a block of artists."""
        model, random = self.model, generator(self.seed, _STREAM, block)
        sizes = random.geometric(1 / SONGS_PER_ARTIST, _ARTISTS_PER_BLOCK)
        if start < NUM_OFFICIAL_TRAIN_SONGS < start + sizes.sum():
            # An artist ends where the official split is, as in the real table.
            ends = np.cumsum(sizes)
            border = int(np.searchsorted(ends, NUM_OFFICIAL_TRAIN_SONGS - start))
            sizes[border] -= ends[border] - (NUM_OFFICIAL_TRAIN_SONGS - start)
        artist = np.repeat(np.arange(_ARTISTS_PER_BLOCK), sizes)
        # A uniform point plus noise, reflected at 0 and 1, is uniform again: so the years keep their shares exactly.
        time = random.random(_ARTISTS_PER_BLOCK)[artist] + CAREER * random.standard_normal(len(artist))
        time = np.abs((time + 1) % 2 - 1)
        years = np.searchsorted(np.cumsum(model.year_share), time, side="right").clip(0, len(SONG_YEARS) - 1)
        genre = random.integers(0, len(model.signal), len(artist))
        scale = random.choice(model.scales, _ARTISTS_PER_BLOCK, p=model.scale_share)[artist]
        shared = random.standard_normal((_ARTISTS_PER_BLOCK, NUM_FEATURES))
        v = random.standard_normal((len(artist), NUM_FEATURES))
        v *= np.sqrt(1 - model.artist_share)
        v += np.sqrt(model.artist_share) * shared[artist]
        v *= scale[:, None]
        v += exact.product(model.signal[genre, years], np.ascontiguousarray(model.signal_directions.T))
        return sizes, years + SONG_YEARS[0], v
