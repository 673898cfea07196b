"""A run on the whole YearPredictionMSD with its official split is compared with published figures, and no other."""

from __future__ import annotations

from pathlib import Path

from hvd_train.evaluation.published_results import RMSE, rmse_of_others

OFFICIAL = {"train": 417_319, "val": 46_396, "test": 51_630}


def test_only_the_official_split_of_the_real_songs_has_them() -> None:
    path = Path("YearPredictionMSD.txt")
    assert rmse_of_others(path, OFFICIAL, 90, "years") == {name: rmse for name, (rmse, _) in RMSE.items()}
    assert rmse_of_others(None, OFFICIAL, 90, "years") == {}
    assert rmse_of_others(path, {**OFFICIAL, "test": 51_631, "val": 46_395}, 90, "years") == {}
    assert rmse_of_others(path, OFFICIAL, 54, "years") == {}
    assert rmse_of_others(path, OFFICIAL, 90, "values") == {}
