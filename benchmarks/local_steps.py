"""What local steps cost in quality: the validation loss on synthetic songs by local steps and virtual workers.

    python benchmarks/local_steps.py --out benchmarks/results

Trains the reference network in one process, which computes all workers. The number of ranks does not change the result.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import records

from hvd_train.config import RunConfig, recipe
from hvd_train.distributed import open_world
from hvd_train.runs import RunDir

# 256 steps of 128 rows in an epoch, which 64 divides: no setting takes fewer rows than another.
NUM_SONGS, GLOBAL_BATCH = 41_500, 128
KIND = "local-steps"
METRICS = ("loss", "rmse", "accuracy")


def config(steps: int, workers: int | None, seed: int, num_epochs: int, **changes: dict[str, Any]) -> RunConfig:
    base = recipe("reference").replace(
        table={"num_songs": NUM_SONGS},
        training={
            "local_batch_size": None,
            "global_batch_size": GLOBAL_BATCH,
            "num_epochs": num_epochs,
            "early_stopping_patience": 0,
            "seed": seed,
        },
        distributed={"local_steps": steps, "virtual_workers": workers},
    )
    return base.replace(**changes)


def trained(chosen: RunConfig, world: Any) -> dict[str, Any]:
    """Metrics of the best epoch on the test rows, and the validation loss of each epoch."""
    from hvd_train.training import train_and_evaluate

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        report = train_and_evaluate(chosen, world, RunDir(Path(folder) / "run"))
    return {
        **{name: report.metrics["test"][name] for name in METRICS},
        "val_loss": [row["val_loss"] for row in report.history],
        "seconds": time.monotonic() - began,
    }


def spread(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    found: dict[str, Any] = {}
    for name in METRICS:
        values = [run[name] for run in runs]
        found[name] = {
            "mean": statistics.mean(values),
            "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        }
    return found | {"seeds": len(runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=(1, 4, 16, 64))
    parser.add_argument("--workers", type=int, nargs="+", default=(2, 4, 8))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    records.check(parser, out=given.out)
    cases = [(steps, workers if steps > 1 else None) for steps in given.steps for workers in given.workers]
    cases = list(dict.fromkeys(cases))
    world = open_world()
    result = records.header() | {
        "config": {"num_songs": NUM_SONGS, "global_batch_size": GLOBAL_BATCH, "epochs": given.epochs},
        "runs": [],
    }
    for seed in given.seeds:
        for steps, workers in records.in_turn(cases, seed):
            run = trained(config(steps, workers, seed, given.epochs), world)
            case = {"local_steps": steps, "virtual_workers": workers, "seed": seed}
            before = kept(given) or result["runs"]
            result["runs"] = [old for old in before if any(old[key] != case[key] for key in case)] + [case | run]
            print(case | run, flush=True)
            records.save(given.out, KIND, result | {"rows": rows(result["runs"])})


def rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each setting, over its seeds."""
    cases = sorted({(run["local_steps"], run["virtual_workers"] or 0) for run in runs})
    return [
        {"local_steps": steps, "virtual_workers": workers or None}
        | spread([r for r in runs if (r["local_steps"], r["virtual_workers"] or 0) == (steps, workers)])
        for steps, workers in cases
    ]


def kept(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The runs of the day's file, so that the table can be made in pieces."""
    path = given.out / records.file_name(KIND, records.header()) if given.out else None
    if path is None or not path.exists():
        return []
    old = json.loads(path.read_text())
    return list(old["runs"]) if old["config"]["epochs"] == given.epochs else []


if __name__ == "__main__":
    records.run(main)
