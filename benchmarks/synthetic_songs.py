"""How like the real songs the synthetic ones are, and the best that can be done on them.

    python benchmarks/synthetic_songs.py --out benchmarks/results

Generates 515,345 songs, splits them officially, and prints the table of docs/concepts/synthetic-songs.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.data.schema import NUM_OFFICIAL_TRAIN_SONGS, NUM_SONGS, SONG_FEATURES, SONG_YEARS, Columns
from hvd_train.data.songs.model import PAIRS
from hvd_train.data.songs.optimum import best_figures
from hvd_train.data.songs.published_statistics import load_published
from hvd_train.data.songs.table import SyntheticSongs

YEARS = np.array(SONG_YEARS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = figures(arguments.seed)
    print("\n".join(f"| {name} | {value:.4g} |" for name, value in found.items()))
    if arguments.out:
        date = datetime.date.today().isoformat()
        result = {"date": date, "seed": arguments.seed, "numpy": np.__version__, "figures": found}
        (arguments.out / f"synthetic-songs_{date}.json").write_text(json.dumps(result, indent=2) + "\n")


def figures(seed: int) -> dict[str, Any]:
    table = SyntheticSongs(NUM_SONGS, seed)
    chunks = list(table.chunks(Columns(("year", *SONG_FEATURES), tuple(range(1, 91)), 0)))
    features = np.concatenate([chunk.features for chunk in chunks])
    years = np.concatenate([chunk.labels for chunk in chunks])
    train, test = slice(0, NUM_OFFICIAL_TRAIN_SONGS), slice(NUM_OFFICIAL_TRAIN_SONGS, None)
    published = load_published()
    mean, std = features[train].mean(0, np.float64), features[train].std(0, np.float64)
    correlation = np.corrcoef(features[train], rowvar=False)
    with_year = [np.corrcoef(column, years[train])[0, 1] for column in features[train].T]
    shares = np.bincount(years.astype(int) - SONG_YEARS[0], minlength=len(YEARS)) / NUM_SONGS
    furthest = np.abs((features[train] - mean) / std).max(0)
    found = {
        "largest difference of a mean, in standard deviations": np.abs((mean - published.mean) / published.std).max(),
        "largest relative difference of a standard deviation": np.abs(std / published.std - 1).max(),
        "mean absolute difference of a correlation": np.abs(correlation - published.correlation).mean(),
        "largest difference of a correlation with the year": np.abs(with_year - published.year_correlation).max(),
        "largest difference of a year's share": np.abs(shares - published.year_counts / NUM_SONGS).max(),
        "furthest value of an average, in standard deviations (median over columns)": np.median(furthest[:12]),
        "furthest value of a covariance, in standard deviations (median over columns)": np.median(furthest[12:]),
        "least eigenvalue of any song's covariance": least_eigenvalue(features),
        "test RMSE of the train mean": np.sqrt(np.mean((years[test] - years[train].mean()) ** 2)),
        "test RMSE of linear regression": linear_rmse(features, years, train, test),
    }
    posterior = table.model.posterior(features[test])
    best = best_figures(posterior, YEARS, (years[test] - SONG_YEARS[0]).astype(np.int32))
    found |= {f"best possible test {name}": figure for name, figure in best.items()}
    return {name: float(value) for name, value in found.items()}


def least_eigenvalue(features: np.ndarray) -> float:
    matrices = np.empty((len(features), 12, 12), np.float32)
    matrices[:, PAIRS[:, 0], PAIRS[:, 1]] = matrices[:, PAIRS[:, 1], PAIRS[:, 0]] = features[:, 12:]
    blocks = range(0, len(matrices), 20_000)
    return float(min(np.linalg.eigvalsh(matrices[b : b + 20_000].astype(np.float64)).min() for b in blocks))


def linear_rmse(features: np.ndarray, years: np.ndarray, train: slice, test: slice) -> float:
    mean, std = features[train].mean(0, np.float64), features[train].std(0, np.float64)
    inputs = [np.column_stack([np.ones(len(x)), (x - mean) / std]) for x in (features[train], features[test])]
    weights = np.linalg.lstsq(inputs[0], years[train], rcond=None)[0]
    return float(np.sqrt(np.mean((inputs[1] @ weights - years[test]) ** 2)))


if __name__ == "__main__":
    main()
