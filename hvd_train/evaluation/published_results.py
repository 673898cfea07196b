"""What others published for YearPredictionMSD on its official split: the figures that a run on it is compared with."""

from __future__ import annotations

from pathlib import Path

from hvd_train.data import NUM_OFFICIAL_TRAIN_SONGS, NUM_SONG_TIMBRES, NUM_SONGS

_REVISITING = "Gorishniy et al. 2021, arXiv 2106.11959"
# Root mean squared error in years, and where it is from: single models, then five of a kind averaged.
RMSE: dict[str, tuple[float, str]] = {
    "linear regression": (9.5, "about; many"),
    "XGBoost": (8.947, _REVISITING),
    "CatBoost": (8.877, _REVISITING),
    "FT-Transformer": (8.855, _REVISITING),
    "MLP": (8.853, _REVISITING),
    "ResNet": (8.846, _REVISITING),
    "GrowNet": (8.827, _REVISITING),
    "NODE": (8.784, _REVISITING),
    "NODE, by its authors": (8.728, "Popov et al. 2019, arXiv 1909.06312"),
    "DANet-32": (8.714, "Chen et al. 2021, arXiv 2112.02962"),
    "5 x FT-Transformer": (8.727, f"{_REVISITING}, default settings"),
    "5 x NODE": (8.717, _REVISITING),
    "5 x MLP": (8.712, _REVISITING),
    "5 x GrowNet": (8.683, _REVISITING),
}
# The same of other rows: a random split with songs of one artist on both sides, and 50,000 of them to train on. It is the
# protocol that the recipe `songs` was tuned by. No run on the official split is compared with these.
_TABM = "Gorishniy et al. 2025, arXiv 2410.24210"
RMSE_OF_A_RANDOM_SPLIT: dict[str, tuple[float, str]] = {
    "CatBoost": (9.037, _TABM),
    "XGBoost": (9.031, _TABM),
    "LightGBM": (9.020, _TABM),
    "MLP": (8.963, _TABM),
    "TabM": (8.870, _TABM),
    "TabM by the settings of recipe `songs`": (8.870, _TABM),
    "5 x TabM by the settings of recipe `songs`": (8.842, _TABM),
}


def rmse_of_others(path: Path | None, rows: dict[str, int], num_features: int, label_kind: str) -> dict[str, float]:
    """The published RMSE by model where a run's data is YearPredictionMSD with its official split; else empty.

    `path` is the table (None for synthetic songs, which nobody published anything about), `rows` those of each split.
    """
    whole = sum(rows.values()) == NUM_SONGS and rows["test"] == NUM_SONGS - NUM_OFFICIAL_TRAIN_SONGS
    songs = num_features == NUM_SONG_TIMBRES + NUM_SONG_TIMBRES * (NUM_SONG_TIMBRES + 1) // 2 and label_kind == "years"
    return {name: rmse for name, (rmse, _) in RMSE.items()} if path is not None and whole and songs else {}
