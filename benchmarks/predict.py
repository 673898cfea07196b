"""How long `hvd-train predict` takes from file to file, against `pandas.read_csv`, `model.predict` and `to_csv`.

    python benchmarks/predict.py --prepare --scratch /var/tmp/rows
    python benchmarks/predict.py --scratch /var/tmp/rows --repeats 3 --out benchmarks/results

The first command writes 500,000 rows of 90 columns as CSV and as Parquet, and trains a network for a moment. The second
measures fresh processes, interleaved: wall clock, imports included, and the largest resident memory of all their
processes. The program of pandas writes the same columns, as far as model.keras has them. It runs twice: with the batch of
32 rows that Keras takes by default, and with one of 1,024.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from records import check, header, in_turn, run, save

NUM_ROWS, NUM_FEATURES = 500_000, 90
BLOCK_ROWS = 50_000
LIMIT_S = 600
BIN = Path(sys.executable).parent
PANDAS = """
import sys
import pandas as pd
import keras
model = keras.models.load_model(sys.argv[1], compile=False)
rows = pd.read_csv(sys.argv[2])
outputs = model.predict(rows.to_numpy("float32"), batch_size=int(sys.argv[4]), verbose=0)
columns = {name: outputs[name][:, 0] for name in ("expected", "median", "most_likely")}
columns["probability"] = outputs["probabilities"].max(axis=1)
pd.DataFrame(columns).to_csv(sys.argv[3], index=False)
"""
OURS, BASELINE = "hvd-train predict, np = 1, CSV to CSV", "pandas, model.predict, to_csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="where the rows and the network are, 700 MB")
    parser.add_argument("--prepare", action="store_true", help="write them, and measure nothing")
    parser.add_argument("--rows", type=int, default=NUM_ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="measure these rows alone")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.scratch, arguments.rows)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch if arguments.scratch.is_dir() else None) as written:
        programs = commands(arguments.scratch, Path(written))
        check(parser, out=arguments.out, only=arguments.only, rows=programs)
        if not (arguments.scratch / "run" / "model.keras").is_file():
            parser.error(f"--scratch {arguments.scratch}: there are no rows and no network. Begin with --prepare")
        names = [name for name in programs if not arguments.only or name in arguments.only]
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for repeat in range(arguments.repeats):
            for name in in_turn(names, repeat):
                found[name].append(measured(programs[name]))
                print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    save(arguments.out, "predict", header() | {"rows": summary(found)}, again=arguments.only, tables=("rows",))


def prepare(scratch: Path, num_rows: int) -> None:
    """Rows of numbers with 5 decimals, as those of YearPredictionMSD, and a network of the default recipe."""
    scratch.mkdir(parents=True, exist_ok=True)
    table, parquet = scratch / "rows.csv", scratch / "rows.parquet"
    names = [f"f{i}" for i in range(NUM_FEATURES)]
    rng = np.random.default_rng(0)
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pyarrow.csv.CSVWriter(table, schema) as csv, pyarrow.parquet.ParquetWriter(parquet, schema) as file:
        for first in range(0, num_rows, BLOCK_ROWS):
            shape = (min(BLOCK_ROWS, num_rows - first), NUM_FEATURES)
            cells = np.round(rng.normal(scale=100, size=shape), 5)
            batch = pa.RecordBatch.from_arrays([pa.array(column) for column in cells.T], schema=schema)
            csv.write(batch)
            file.write_batch(batch)
    labelled = scratch / "labelled.csv"
    head = pyarrow.csv.read_csv(table).slice(0, 4000)
    years = pa.array(rng.integers(1922, 2012, head.num_rows))
    pyarrow.csv.write_csv(head.add_column(0, "year", years), labelled)
    flags = ["--data", labelled, "--num-epochs", "1", "--run-dir", scratch / "run", "--cache-dir", scratch / "cache"]
    subprocess.run([BIN / "hvd-train", "train", *flags], check=True)


def commands(scratch: Path, written: Path) -> dict[str, Sequence[str | Path]]:
    """Each row of the result, and its command."""
    model, table, parquet = scratch / "run" / "model.keras", scratch / "rows.csv", scratch / "rows.parquet"
    predict = [BIN / "hvd-train", "predict", scratch / "run"]
    pair = [BIN / "mpirun", "-np", "2", *predict]
    return {
        OURS: [*predict, "--data", table, "--out", written / "ours.csv"],
        BASELINE: [sys.executable, "-c", PANDAS, model, table, written / "pandas.csv", "32"],
        f"{BASELINE}, batch of 1,024": [sys.executable, "-c", PANDAS, model, table, written / "pandas.csv", "1024"],
        "hvd-train predict, np = 1, Parquet to Parquet": [
            *predict,
            "--data",
            parquet,
            "--out",
            written / "ours.parquet",
        ],
        "hvd-train predict, np = 2, CSV to CSV": [*pair, "--data", table, "--out", written / "pair.csv"],
        "hvd-train predict, np = 2, Parquet to Parquet": [*pair, "--data", parquet, "--out", written / "pair.parquet"],
    }


def measured(command: Sequence[str | Path]) -> dict[str, float]:
    """Seconds and the largest resident memory in MiB of a command and all it starts."""
    started, largest = time.perf_counter(), [0]
    process = psutil.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            total = 0
            try:
                for one in (process, *process.children(recursive=True)):
                    total += one.memory_info().rss
            except psutil.Error:
                continue
            largest[0] = max(largest[0], total)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        ended.set()
        watcher.join()
        if process.is_running():
            process.kill()
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{errors.decode(errors='replace')}")
    return {"wall_s": round(seconds, 2), "resident_mib": largest[0] >> 20}


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Median and range of each row, and how many times as fast it is as the program of pandas beside it."""
    rows: dict[str, Any] = {}
    for name, runs in found.items():
        seconds = [one["wall_s"] for one in runs]
        row: dict[str, Any] = {"wall_s": statistics.median(seconds), "wall_s_all": seconds}
        row["resident_mib"] = max(one["resident_mib"] for one in runs)
        if BASELINE in found:
            ratios = [base["wall_s"] / one["wall_s"] for one, base in zip(runs, found[BASELINE], strict=True)]
            row["times_as_fast"] = round(statistics.median(ratios), 2)
        rows[name] = row
    return rows


if __name__ == "__main__":
    run(main)
