"""The section of docs/reference/results.md on YearPredictionMSD: what others published for it, and what the recipe `songs` takes."""

from __future__ import annotations

from pages import measured, newest, table

from hvd_train.config import SplitConfig, recipes
from hvd_train.data import NUM_OFFICIAL_TRAIN_SONGS
from hvd_train.evaluation.published_results import RMSE, RMSE_OF_A_RANDOM_SPLIT


def published() -> str:
    rows = [[name, f"{rmse:g}", source] for name, (rmse, source) in RMSE.items()]
    rows.append(["constant mean", "10.85", "the trivial predictor"])
    of_random = [[name, f"{rmse:.3f}", source] for name, (rmse, source) in RMSE_OF_A_RANDOM_SPLIT.items()]
    return f"""## YearPredictionMSD itself

`hvd-train data fetch songs` prints where it stored the text. `horovodrun -np N hvd-train train --recipe songs --data THAT`
trains on the official split, and prints its RMSE among these. The data could not be fetched where this page was made, so
**our number is open**. What others published for the official split (five of a kind averaged are `5 x`):

{table(["model", "RMSE", "source"], rows)}

`songs` has the settings that the authors of TabM tuned and published for this table. They had 50,000 rows of a random split to train on.
Songs of one artist are on both of its sides, so these figures do not compare with those above:

{table(["model", "RMSE", "source"], of_random)}

{time_at_full_size()}"""


def time_at_full_size() -> str:
    """How long `songs` takes on the official split, by arithmetic from its rate on fewer rows."""
    document = newest("synthetic-time")
    ours = document["ours"]["songs"]
    train = round(NUM_OFFICIAL_TRAIN_SONGS * (1 - SplitConfig().val_fraction))
    minutes, patience = train / ours["samples_per_s"] / 60, recipes.SONGS.training.early_stopping_patience
    return f"""The time for the official split is arithmetic, and was not measured. `songs` trained {ours["samples_per_s"]:,.0f} rows/s with {ours["size"]} ranks on
{document["num_songs"]:,} synthetic songs (`python benchmarks/results_synthetic.py time`). At this rate an epoch of the {train:,} train rows takes
{minutes:.0f} minutes, without its validation. The patience of {patience} epochs alone takes {minutes * patience / 60:.1f} hours. A GPU suits this recipe
better: the authors of TabM report 56 seconds on an A100 for one network on their 50,000 rows.

{measured(document)}
"""
