"""How settings of the recipe `table` were chosen: RMSE on the validation rows of real tables. No test row is read.

    python benchmarks/table_choices.py --data uci --only concrete --only energy

The test rows of each split are left out, a tenth of its train rows chooses the epoch, and its validation rows judge. Adds to
benchmarks/results/table-choices_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md. Needs no MPI.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from choices import add, means
from records import run
from results_tables import RECIPE, add_tables, chosen_tables, config_of

# Name: what differs from the recipe.
CHOICES: dict[str, dict[str, Any]] = {
    "none: the recipe": {},
    "weights are shared, as in TabM": {
        "model": {"member_weights": "shared", "parallel_members": 32},
        "optimizer": {"base_learning_rate": 6e-3},
    },
    "`--clip-norm 1`": {"optimizer": {"clip_norm": 1.0}},
    "`--piecewise-values 0`": {"model": {"piecewise_values": 0}},
    "`--averaging none`": {"training": {"averaging": "none"}},
}
SPLITS = (0, 1, 2)
TENTH = 10


def judged_by_validation(path: Path, split: int, folder: Path) -> Path:
    """The table without the test rows of this split: in their place are the validation rows, and in the place of these train rows."""
    table = pd.read_csv(path)
    column = f"split{split}"
    table = table[table[column] != "test"].copy()
    train = table.index[table[column] == "train"]
    table[column] = table[column].replace({"val": "test"})
    table.loc[np.random.default_rng(split).permutation(train)[: len(train) // TENTH], column] = "val"
    new = folder / f"{path.stem}-{split}.csv"
    table.to_csv(new, index=False)
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_tables(parser)
    arguments = parser.parse_args()
    paths = chosen_tables(parser, arguments)
    with tempfile.TemporaryDirectory() as scratch:
        configs = {
            (name, split): config_of(judged_by_validation(path, split, Path(scratch)), split)
            for name, path in paths.items()
            for split in SPLITS
        }
        found = means(configs, CHOICES, "rmse")
    known = sorted(path.stem for path in arguments.data.glob("*.csv"))
    print(add(arguments.out, "table-choices", "tables", found, order=known, recipe=RECIPE, splits=SPLITS))


if __name__ == "__main__":
    run(main)
