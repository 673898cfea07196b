"""Published figures stand beside a run on the whole YearPredictionMSD with its official split, and no other."""

from __future__ import annotations

from pathlib import Path

from hvd_train.evaluation.published import RMSE, beside

OFFICIAL = {"train": 417_319, "val": 46_396, "test": 51_630}


def test_only_the_official_split_of_the_real_songs_has_them() -> None:
    path = Path("YearPredictionMSD.txt")
    assert beside(path, OFFICIAL, 90, "years") == {name: rmse for name, (rmse, _) in RMSE.items()}
    assert beside(None, OFFICIAL, 90, "years") == {}
    assert beside(path, {**OFFICIAL, "test": 51_631, "val": 46_395}, 90, "years") == {}
    assert beside(path, OFFICIAL, 54, "years") == {}
    assert beside(path, OFFICIAL, 90, "values") == {}
