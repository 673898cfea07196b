"""How settings of the recipe `table` were chosen: RMSE on the validation rows of real tables. No test row is read.

    python benchmarks/table_choices.py --data uci --only concrete --only energy

The test rows of each split are left out, a tenth of its train rows chooses the epoch, and its validation rows judge. Adds to
benchmarks/results/table-choices_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md. Needs no MPI.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import trials
from records import check, run
from results_tables import HERE, RECIPE, config_of

from hvd_train.runs.provenance import versions

# Name: what differs from the recipe.
CHOICES: dict[str, dict[str, Any]] = {
    "none: the recipe": {},
    "weights are shared, as in TabM": {
        "model": {"member_weights": "shared", "parallel_members": 32},
        "optimizer": {"base_learning_rate": 6e-3},
    },
    "`--clip-norm 1`": {"optimizer": {"clip_norm": 1.0}},
    "`--averaging none`": {"training": {"averaging": "none"}},
}
SPLITS = (0, 1, 2)
TENTH = 10


def judged_by_validation(path: Path, split: int, folder: Path) -> Path:
    """The table without the test rows of this split: in their place are the validation rows, and in the place of these train rows."""
    table = pd.read_csv(path)
    column = f"split{split}"
    table = table[table[column] != "test"].drop(columns=[n for n in table if n.startswith("split") and n != column])
    train = table.index[table[column] == "train"]
    table[column] = table[column].replace({"val": "test"})
    table.loc[np.random.default_rng(split).permutation(train)[: len(train) // TENTH], column] = "val"
    new = folder / f"{path.stem}-{split}.csv"
    table.to_csv(new, index=False)
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--only", action="append", default=[], help="a table, by the name of its file; may be repeated")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    arguments = parser.parse_args()
    paths = {path.stem: path for path in sorted(arguments.data.glob("*.csv"))}
    if not paths:
        parser.error(f"--data {arguments.data}: there is no CSV file")
    check(parser, out=arguments.out, only=arguments.only, rows=paths)
    names = arguments.only or list(paths)
    with tempfile.TemporaryDirectory() as scratch:
        configs = {
            (name, split): config_of(judged_by_validation(paths[name], split, Path(scratch)), split)
            for name in names
            for split in SPLITS
        }
        wanted = [
            trials.Trial((name, choice, str(split)), configs[name, split].replace(**changes))
            for name in names
            for choice, changes in CHOICES.items()
            for split in SPLITS
        ]
        reports = trials.run(wanted)
    today = datetime.date.today().isoformat()
    path = arguments.out / f"table-choices_{today}.json"
    tables = json.loads(path.read_text())["tables"] if path.exists() else {}
    for name in names:
        rmse = {
            choice: [r["metrics"]["test"]["rmse"] for r in reports if tuple(r["names"][:2]) == (name, choice)]
            for choice in CHOICES
        }
        tables[name] = tables.get(name, {}) | {choice: float(np.mean(found)) for choice, found in rmse.items()}
    document = {"date": today, "machine": trials.machine(), "versions": versions(), "recipe": RECIPE,
                "splits": SPLITS, "tables": dict(sorted(tables.items()))}  # fmt: skip
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    run(main)
