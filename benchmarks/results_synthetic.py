"""Results on the synthetic songs at full size, where the best possible is known; and the methods for rare years.

    python benchmarks/results_synthetic.py recipes      # each recipe on 463,715 / 51,630 songs
    python benchmarks/results_synthetic.py peers        # gradient boosting on the same songs; needs requirements/peers.txt
    python benchmarks/results_synthetic.py rare         # the methods for imbalance on one net and fewer songs
    python benchmarks/results_synthetic.py time         # how fast the recipe `songs` trains, on a few of them

Each run is `horovodrun -np N hvd-train train ...` as a user types it, N the cores of this machine. Writes
benchmarks/results/synthetic-<what>_<date>.json, from which benchmarks/results_page.py makes docs/reference/results.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import trials
from peer_rows import rows_of
from records import check, run

from hvd_train.config import SPLITS, SplitConfig, TableConfig
from hvd_train.data import Dataset, prepare
from hvd_train.runs.provenance import versions

HERE = Path(__file__).parent
NUM_SONGS = 515_345
RARE_NUM_SONGS = 100_000
RARE_NUM_EPOCHS = 6
RARE_BEFORE = 1970
RUN_LIMIT_S = 3600
# How often the metrics of a run are looked at.
POLL_S = 0.2
# Enough rows for the rate of `songs`. What it predicts after so few epochs is no result.
TIME_NUM_SONGS = 20_000
TIME = {"songs": ["--recipe", "songs", "--num-epochs", "3"]}
# What is trained at full size: a name, and the flags of hvd-train train.
RECIPES = {
    "linear": [
        "--recipe",
        "synthetic-songs",
        "--model",
        "linear",
        "--transform",
        "standard",
        "--no-whiten",
        "--num-epochs",
        "6",
    ],
    "default (seed_cnn)": ["--recipe", "default", "--num-epochs", "9"],
    "synthetic-songs-cnn": ["--recipe", "synthetic-songs-cnn", "--num-epochs", "3"],
    "mlp, inputs standardised alone": [
        "--recipe",
        "synthetic-songs",
        "--transform",
        "standard",
        "--no-whiten",
        "--dense-units",
        "256",
        "256",
        "--dense-dropout",
        "0.1",
        "--num-epochs",
        "8",
    ],
    "synthetic-songs": ["--recipe", "synthetic-songs"],
}
RARE = {
    "none": [],
    "repeat, evenness 0.5": ["--balance", "repeat", "--balance-evenness", "0.5"],
    "repeat, evenness 1": ["--balance", "repeat", "--balance-max-repeats", "20"],
    "weights 1/n": ["--balance", "inverse"],
    "weights 1/sqrt(n)": ["--balance", "sqrt-inverse"],
    "weights 1/sqrt(n), LDS": ["--balance", "sqrt-inverse", "--lds-sigma", "2"],
    "effective number": ["--balance", "effective-number"],
}


def trained(flags: list[str], folder: Path, name: str) -> dict[str, Any]:
    """The report of one run, with its wall time, and for each epoch the seconds from the command to its figures."""
    run_dir = folder / name.replace(" ", "-").replace("/", "")
    cores = len(os.sched_getaffinity(0))
    command = ["horovodrun", "-np", str(cores), "hvd-train", "train", "--run-dir", str(run_dir), *flags]
    started = time.monotonic()
    epoch_ends: list[float] = []
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                now = time.monotonic() - started
                epoch_ends += [now] * (num_epochs_in(run_dir / "metrics.csv") - len(epoch_ends))
                if now > RUN_LIMIT_S:
                    raise SystemExit(f"{' '.join(command)} took more than {RUN_LIMIT_S} s")
        finally:
            process.terminate()
            process.wait()
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read()[-6000:]}")
    report: dict[str, Any] = json.loads((run_dir / "report.json").read_text())
    report["wall_seconds"] = time.monotonic() - started
    report["epoch_ends"] = epoch_ends
    figures = ", ".join(f"{k} {v:.4f}" for k, v in report["metrics"]["test"].items())
    print(f"{name}: {figures} ({report['wall_seconds']:.0f} s)", file=sys.stderr, flush=True)
    return report


def num_epochs_in(metrics: Path) -> int:
    """The lines of metrics.csv below its header."""
    return max(0, metrics.read_text().count("\n") - 1) if metrics.exists() else 0


def row(report: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a run."""
    kept = ("metrics", "baselines", "optimum", "temperature", "epochs", "best_epoch", "train_seconds", "wall_seconds", "size")  # fmt: skip
    val_rmse = [epoch["val_rmse"] for epoch in report["history"]]
    details = {key: value for key, value in report["details"]["test"].items() if key not in ("rows", "predicted_rows")}
    return {key: report[key] for key in kept} | {
        "details": details,
        "samples_per_s": report["samples_per_s"],
        "val_rmse": val_rmse,
        "epoch_ends": report["epoch_ends"],
    }


def gradient_boosting() -> dict[str, Any]:
    """Gradient boosting on the same rows, on all cores.

    scikit-learn's has one model for RMSE, and one of its own loss for MAE. It stops by rows of its own choice, the others by val.
    """
    import peers_boosted
    from sklearn.ensemble import HistGradientBoostingRegressor

    dataset = Dataset.open(prepare(TableConfig(num_songs=NUM_SONGS), SplitConfig()))
    train, val, test = (rows_of(dataset, split) for split in SPLITS)
    boosted = peers_boosted.untuned_scores(train, val, test, len(os.sched_getaffinity(0)))
    found: dict[str, Any] = {name: {"rmse": figures} for name, figures in boosted.items()}
    x, y = (np.concatenate(parts) for parts in zip(train, val, strict=True))
    of_sklearn = found["HistGradientBoosting"] = {}
    for metric, loss in (("rmse", "squared_error"), ("mae", "absolute_error")):
        started = time.monotonic()
        model = HistGradientBoostingRegressor(
            loss=loss, max_iter=600, learning_rate=0.08, max_leaf_nodes=63, early_stopping=True, random_state=0
        ).fit(x, y)
        seconds = time.monotonic() - started
        error = model.predict(test[0]) - test[1]
        figure = float(np.sqrt(np.mean(error**2))) if metric == "rmse" else float(np.mean(np.abs(error)))
        of_sklearn[metric] = {"test": figure, "seconds": seconds}
    for name, of in found.items():
        print(f"{name}: RMSE {of['rmse']['test']:.4f} ({of['rmse']['seconds']:.0f} s)", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["recipes", "peers", "rare", "time"])
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--only", nargs="*", help="these rows alone")
    arguments = parser.parse_args()
    check(parser, out=arguments.out)
    measured = {
        "recipes": (RECIPES, NUM_SONGS),
        "peers": ({}, NUM_SONGS),
        "rare": (RARE, RARE_NUM_SONGS),
        "time": (TIME, TIME_NUM_SONGS),
    }
    rows, songs = measured[arguments.what]
    common = ["--num-songs", str(songs)]
    if arguments.what == "rare":
        # Fewer songs: smaller batches and a shorter average, for as many steps as the net needs.
        common += ["--recipe", "synthetic-songs", "--num-epochs", str(RARE_NUM_EPOCHS), "--global-batch-size", "256", "--ema-momentum", "0.995"]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        ours = {
            name: row(trained([*common, *flags], Path(scratch), name))
            for name, flags in rows.items()
            if not arguments.only or name in arguments.only
        }
    date = datetime.date.today().isoformat()
    # Both are one table of the page.
    kind, order = ("recipes", RECIPES) if arguments.what == "peers" else (arguments.what, rows)
    out = arguments.out / f"synthetic-{kind}_{date}.json"
    # Rows that were measured the same day stay, in the order of the page.
    before: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    ours = {name: (before.get("ours", {}) | ours)[name] for name in order if name in before.get("ours", {}) | ours}
    document = {"what": kind, "date": date, "machine": trials.machine(), "versions": versions(),
                "num_songs": songs, "rare_before": RARE_BEFORE, "flags": order, "ours": ours}  # fmt: skip
    if kind == "recipes":
        document["peers"] = gradient_boosting() if arguments.what == "peers" else before.get("peers", {})
    out.write_text(json.dumps(document, indent=2) + "\n")
    print(out)


if __name__ == "__main__":
    run(main)
