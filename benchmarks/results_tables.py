"""Results of the recipe `table` on real tables that come with splits of their own, next to tuned gradient boosting.

    pip install --require-hashes -r requirements/peers.txt
    python benchmarks/results_tables.py --data uci --only concrete --only energy --splits 5

A table is a CSV file with the column `target`, the columns `split0`, `split1` and so on that hold train, val or test, and
columns of numbers. Writes benchmarks/results/tables_<date>.json, from which benchmarks/results_page.py makes
docs/reference/results.md. Tables that are measured again take the place of those in the newest file, which keeps the others.
With --keep-peers the peers of these tables are kept as well: they do not change with the recipe. Needs no MPI: a trial has a
core of its own.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import peers_boosted
import trials
from pages import NotMeasured, about_of, newest
from records import check, run
from results_small import row

from hvd_train.config import RunConfig, recipes
from hvd_train.data import Dataset, prepare
from hvd_train.runs.provenance import versions

RECIPE = "table"
SKLEARN_PEERS = ("HistGradientBoosting",)
PEERS = (*peers_boosted.PEERS, *SKLEARN_PEERS)
HERE = Path(__file__).parent


def config_of(path: Path, split: int) -> RunConfig:
    """The recipe on this split. The columns of the other splits are no features."""
    names = path.open().readline().strip().split(",")
    others = tuple(name for name in names if name.startswith("split") and name != f"split{split}")
    table = {"path": path, "label": "target", "label_kind": "values", "drop": others}
    return recipes.recipe(RECIPE).replace(table=table, split={"method": f"column:split{split}"})


def peers_of(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Each peer on the split of this config, on one core: its figure, what was chosen, and the seconds with all tuning."""
    import peers_sklearn

    dataset = Dataset.open(prepare(config.table, config.split))
    peers = [peer for peer in peers_sklearn.REGRESSORS if peer.name in SKLEARN_PEERS]
    tuned = peers_boosted.scores(dataset, ("rmse",)) | peers_sklearn.scores(dataset, peers, ("rmse",))
    return {name: of["rmse"] for name, of in tuned.items()}


def before() -> dict[str, dict[str, Any]]:
    """The tables of the newest file, each with when and where it was measured."""
    try:
        document = newest("tables")
    except NotMeasured:
        return {}
    about = about_of(document)
    return {name: {"about": about, "peers_about": about} | of for name, of in document["tables"].items()}


def add_tables(parser: argparse.ArgumentParser) -> None:
    """The flags of a program that measures on tables."""
    parser.add_argument("--data", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--only", action="append", default=[], help="a table, by the name of its file; may be repeated")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")


def chosen_tables(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, Path]:
    """The tables by name, those of --only where it is given. SystemExit with a message where there are none."""
    paths = {path.stem: path for path in sorted(arguments.data.glob("*.csv"))}
    if not paths:
        parser.error(f"--data {arguments.data}: there is no CSV file")
    check(parser, out=arguments.out, only=arguments.only, rows=paths)
    return {name: paths[name] for name in arguments.only or paths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_tables(parser)
    parser.add_argument("--splits", type=int, default=5, help="how many of the splits of each table, at least 2")
    parser.add_argument(
        "--keep-peers", action="store_true", help="measure no peer again: take them from the newest file"
    )
    arguments = parser.parse_args()
    paths = chosen_tables(parser, arguments)
    if arguments.splits < 2:
        parser.error(f"--splits {arguments.splits}: a mean and its spread need at least 2")
    names = list(paths)
    known = before()
    if arguments.keep_peers and (
        lacking := [name for name in names if known.get(name, {}).get("splits") != arguments.splits]
    ):
        parser.error(f"--keep-peers: the newest file has no peers of {arguments.splits} splits of {', '.join(lacking)}")
    configs = {(name, split): config_of(paths[name], split) for name in names for split in range(arguments.splits)}
    reports = trials.run([trials.Trial((name, str(split)), config) for (name, split), config in configs.items()])
    peers = {} if arguments.keep_peers else of_peers(configs)
    date = datetime.date.today().isoformat()
    document = {"date": date, "machine": trials.machine(), "versions": versions(), "recipe": RECIPE, "tables": {}}
    about = about_of(document)
    tables = {}
    for name in names:
        ours = [report for report in reports if report["names"][0] == name]
        theirs = [peers[name, split] for split in range(arguments.splits)] if peers else []
        tables[name] = {
            "splits": arguments.splits,
            "rows": sum(Dataset.open(prepare((of := configs[name, 0]).table, of.split)).num_rows(split) for split in ("train", "val", "test")),
            "ours": scored([(report["metrics"]["test"]["rmse"], report["seconds"]) for report in ours]),
            "baseline": scored([(report["baselines"]["test"]["rmse"], 0.0) for report in ours]),
            "epochs": [report["member_epochs"][0] for report in ours],
            "about": about,
            "peers": {peer: scored([(of[peer]["test"], of[peer]["seconds"]) for of in theirs]) for peer in PEERS} if peers else known[name]["peers"],
            "peers_about": about if peers else known[name]["peers_about"],
        }  # fmt: skip
    document["tables"] = dict(sorted((known | tables).items()))
    out = arguments.out / f"tables_{date}.json"
    out.write_text(json.dumps(document, indent=2) + "\n")
    print(out)


def of_peers(configs: dict[tuple[str, int], RunConfig]) -> dict[tuple[str, int], dict[str, dict[str, Any]]]:
    """The peers on each of these splits, one process a core."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(configs, pool.map(peers_of, configs.values()), strict=True))


def scored(figures: list[tuple[float, float]]) -> dict[str, Any]:
    """RMSE of each split, with mean and standard deviation, and the mean of the seconds."""
    by_split = row([{"rmse": rmse, "seconds": seconds} for rmse, seconds in figures])
    return {"rmse": by_split["rmse"], "seconds": by_split["seconds"]["mean"]}


if __name__ == "__main__":
    run(main)
