"""Results on the two small real tables: leaves (accuracy) and 3,750 songs (MAE, RMSE), five seeded splits each.

    python benchmarks/results_small.py leaves --data leaf.csv
    python benchmarks/results_small.py songs --data msd_subset_54.csv
    python benchmarks/results_small.py boosted --data msd_subset_54.csv   # more peers of the songs; needs requirements/peers.txt

Writes benchmarks/results/<table>_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md. The recipes
were chosen on splits of other seeds (10 and up). Needs no MPI: a trial has a core of its own.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import trials
from records import check, run

from hvd_train.config import RunConfig, recipes
from hvd_train.data import Dataset, prepare
from hvd_train.runs.provenance import versions

SPLIT_SEEDS = (0, 1, 2, 3, 4)
MEMBERS = 5
HERE = Path(__file__).parent


def leaves(path: Path) -> dict[str, tuple[RunConfig, int]]:
    """Our rows of the table of leaves: a config and how many members are averaged."""
    table, split = {"path": path}, {"method": "stratified", "test_fraction": 0.2}
    best = recipes.recipe("leaves").replace(table=table, split=split)
    seed = recipes.recipe("seed-leaves").replace(table=table, split=split)
    return {"leaves": (best, 1), f"leaves, {MEMBERS} members": (best, MEMBERS), "seed-leaves": (seed, 1)}


def songs(path: Path) -> dict[str, tuple[RunConfig, int]]:
    """Our rows of the table of songs. Artists are not known: a random split is the best there is."""
    table, split = {"path": path}, {"method": "random", "insist_on_random_split": True, "test_fraction": 0.2}
    best = recipes.recipe("few-songs").replace(table=table, split=split)
    plain = recipes.recipe("default").replace(table=table, split=split)
    return {"few-songs": (best, 1), f"few-songs, {MEMBERS} members": (best, MEMBERS), "default (seed_cnn)": (plain, 1)}


def peers_of(config: RunConfig, table: str) -> dict[str, dict[str, Any]]:
    """scikit-learn's models on the split of this config, on one core."""
    import peers_sklearn

    dataset = Dataset.open(prepare(config.table, config.split))
    if table == "leaves":
        return peers_sklearn.scores(dataset, peers_sklearn.CLASSIFIERS, ("accuracy",))
    return peers_sklearn.scores(dataset, peers_sklearn.REGRESSORS, ("rmse", "mae"))


def boosted_of(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Gradient boosting on the split of this config, on one core, tuned by its validation rows."""
    import peers_boosted

    return peers_boosted.scores(Dataset.open(prepare(config.table, config.split)), ("rmse", "mae"))


def over_splits(peers: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By peer and metric: mean and deviation over the splits, what was chosen in each, and the mean of the seconds."""
    return {
        name: {
            metric: row([{metric: peer[name][metric]["test"]} for peer in peers])[metric]
            | {"chosen": [str(peer[name][metric]["chosen"]) for peer in peers]}
            | {"seconds": float(np.mean([peer[name][metric]["seconds"] for peer in peers]))}
            for metric in peers[0][name]
        }
        for name in peers[0]
    }


def row(figures: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and deviation over the splits of each metric."""
    return {
        name: {
            "mean": float(np.mean([f[name] for f in figures])),
            "std": float(np.std([f[name] for f in figures], ddof=1)),
            "each": [f[name] for f in figures],
        }
        for name in figures[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["leaves", "songs", "boosted"])
    parser.add_argument("--data", type=Path, required=True, help="the table as CSV")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    arguments = parser.parse_args()
    check(parser, out=arguments.out)
    if not arguments.data.is_file():
        parser.error(f"--data {arguments.data}: there is no such file")
    rows = (leaves if arguments.table == "leaves" else songs)(arguments.data)
    if arguments.table == "boosted":
        first, _ = next(iter(rows.values()))
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            peers = list(pool.map(boosted_of, [first.replace(split={"seed": seed}) for seed in SPLIT_SEEDS]))
        write(arguments.out, "songs-boosted", {"peers": over_splits(peers)})
        return
    plan = [
        trials.Trial((name, str(seed)), config.replace(split={"seed": seed}), members)
        for name, (config, members) in rows.items()
        for seed in SPLIT_SEEDS
    ]
    reports = trials.run(plan)
    first, _ = next(iter(rows.values()))
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        configs = [first.replace(split={"seed": seed}) for seed in SPLIT_SEEDS]
        peers = list(pool.map(peers_of, configs, [arguments.table] * len(configs)))
    ours = {}
    for name in rows:
        of = [report for report in reports if report["names"][0] == name]
        ours[name] = {
            "metrics": row([report["metrics"]["test"] for report in of]),
            "baselines": row([report["baselines"]["test"] for report in of]),
            "seconds": float(np.mean([report["seconds"] for report in of])),
            "members": rows[name][1],
            "binary_accuracy": row([{"share": report["binary_accuracy"]} for report in of])["share"],
        }
    write(arguments.out, arguments.table, {"ours": ours, "peers": over_splits(peers)})


def write(folder: Path, table: str, found: dict[str, Any]) -> None:
    date = datetime.date.today().isoformat()
    document = {
        "table": table,
        "date": date,
        "machine": trials.machine(),
        "versions": versions(),
        "split_seeds": SPLIT_SEEDS,
    }
    out = folder / f"{table}_{date}.json"
    out.write_text(json.dumps(document | found, indent=2) + "\n")
    print(out)


if __name__ == "__main__":
    run(main)
