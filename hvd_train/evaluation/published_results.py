"""What others published for YearPredictionMSD on its official split: the figures that a run on it is compared with."""

from __future__ import annotations

from pathlib import Path

from hvd_train.data import NUM_OFFICIAL_TRAIN_SONGS, NUM_SONG_TIMBRES, NUM_SONGS

# Root mean squared error in years, of single models but the last, and where it is from.
RMSE: dict[str, tuple[float, str]] = {
    "linear regression": (9.5, "about; many"),
    "XGBoost": (8.947, "Gorishniy et al. 2021, arXiv 2106.11959"),
    "CatBoost": (8.877, "the same"),
    "FT-Transformer": (8.855, "the same"),
    "MLP": (8.853, "the same"),
    "ResNet": (8.846, "the same"),
    "NODE": (8.784, "the same"),
    "best ensemble": (8.683, "not a single model; its paper was not traced"),
}


def rmse_of_others(path: Path | None, rows: dict[str, int], num_features: int, label_kind: str) -> dict[str, float]:
    """The published RMSE by model where a run's data is YearPredictionMSD with its official split; else empty.

    `path` is the table (None for synthetic songs, which nobody published anything about), `rows` those of each split.
    """
    whole = sum(rows.values()) == NUM_SONGS and rows["test"] == NUM_SONGS - NUM_OFFICIAL_TRAIN_SONGS
    songs = num_features == NUM_SONG_TIMBRES + NUM_SONG_TIMBRES * (NUM_SONG_TIMBRES + 1) // 2 and label_kind == "years"
    return {name: rmse for name, (rmse, _) in RMSE.items()} if path is not None and whole and songs else {}
