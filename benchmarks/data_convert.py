"""How fast, and in how much memory, a table as large as YearPredictionMSD is converted and read.

    python benchmarks/data_convert.py --repeats 5 --times-ten --out benchmarks/results

Writes synthetic songs as CSV (515,345 rows of 91 columns, numbers of 5 decimals as in the real file), then measures in
fresh processes: generating, converting (wall clock of the whole process, imports included, and its largest resident
memory), opening and loading a rank's share. With --times-ten also ten such tables in one file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NUM_SONGS = 515_345


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--times-ten", action="store_true")
    parser.add_argument("--scratch", type=Path, help="where to write some GB; by default the system's")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    from records import check  # here, since a measured process is to import nothing more than it needs

    check(parser, out=arguments.out)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        results = benchmark(Path(scratch), arguments.repeats, times_ten=arguments.times_ten)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        name = f"data-convert_{len(os.sched_getaffinity(0))}-cores_{results['date'][:10]}.json"
        (arguments.out / name).write_text(text + "\n")


def benchmark(scratch: Path, repeats: int, *, times_ten: bool) -> dict[str, Any]:
    table, dataset = scratch / "songs.csv", scratch / "songs"
    generated = in_process("generate")
    write_songs(table)
    results: dict[str, Any] = {"date": datetime.datetime.now().isoformat(timespec="seconds"), "machine": machine()}
    results["generate 515,345 synthetic songs, in memory"] = generated
    runs = []
    for i in range(repeats):
        runs.append(in_process("convert", table, dataset.with_name(f"songs{i}")))
    results["convert"] = summary(table, runs)
    results["load a rank's half of train"] = in_process("load", dataset.with_name("songs0"))
    results["check every sha256"] = in_process("check", dataset.with_name("songs0"))
    if times_ten:
        big = scratch / "big.csv"
        with big.open("wb") as file:
            for _ in range(10):
                with table.open("rb") as part:
                    shutil.copyfileobj(part, file)
        results["convert ten times as much"] = summary(big, [in_process("convert", big, scratch / "big")])
    return results


def summary(table: Path, runs: list[dict[str, float]]) -> dict[str, Any]:
    megabytes = table.stat().st_size / 1e6
    speeds = sorted(megabytes / run["wall_s"] for run in runs)
    return {
        "table_mb": round(megabytes, 1),
        "mb_per_s_median": round(statistics.median(speeds), 1),
        "mb_per_s_all": [round(speed, 1) for speed in speeds],
        "load_before_all": [run["load_before"] for run in runs],
        # What other processes take from the wall clock they do not take from this one.
        "mb_per_cpu_s_median": round(megabytes / statistics.median(run["cpu_s"] for run in runs), 1),
        "cpu_s_median": round(statistics.median(run["cpu_s"] for run in runs), 2),
        "largest_resident_mib": max(run["resident_mib"] for run in runs),
    }


def in_process(*what: str | Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", *map(str, what)]
    os.sync()  # what was written before is not this one's to wait for
    load, started = os.getloadavg()[0], time.perf_counter()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(finished.stdout)
    return found | {"wall_s": round(time.perf_counter() - started, 2), "load_before": round(load, 1)}


def measure(what: str, *paths: str) -> dict[str, float]:
    from hvd_train.config import SplitConfig, TableConfig
    from hvd_train.data import Dataset, convert
    from hvd_train.data.schema import SONG_FEATURES, Columns
    from hvd_train.data.songs.table import SyntheticSongs

    started = time.perf_counter()
    if what == "generate":
        for _ in SyntheticSongs(NUM_SONGS).chunks(Columns(("year", *SONG_FEATURES), tuple(range(1, 91)), 0)):
            pass
    elif what == "convert":
        convert(Path(paths[0]), Path(paths[1]), TableConfig(), SplitConfig())
    elif what == "load":
        Dataset.open(Path(paths[0])).load("train", range(32))
    elif what == "check":
        assert Dataset.open(Path(paths[0])).find_damage() == []
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "inside_s": round(time.perf_counter() - started, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "resident_mib": largest_resident_mib(),
    }


def largest_resident_mib() -> int:
    """Of this program: rusage's maximum would begin with that of the process that started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) // 1024


def write_songs(path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    from hvd_train.data.schema import SONG_FEATURES, Columns
    from hvd_train.data.songs.table import SyntheticSongs

    names = ("year", *SONG_FEATURES)
    with path.open("wb") as file:
        for chunk in SyntheticSongs(NUM_SONGS).chunks(Columns(names, tuple(range(1, 91)), 0)):
            columns = [pa.array(chunk.labels.astype(np.int64))]
            columns += [
                pa.array(column) for column in np.ascontiguousarray(chunk.features.T.astype(np.float64).round(5))
            ]
            options = pyarrow.csv.WriteOptions(include_header=False)
            pyarrow.csv.write_csv(pa.table(columns, names=list(names)), file, options)


def machine() -> dict[str, Any]:
    import numpy
    import pandas
    import pyarrow

    from hvd_train.distributed.devices import cpu_name

    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "pandas": pandas.__version__,
        "pyarrow": pyarrow.__version__,
    }


if __name__ == "__main__":
    main()
