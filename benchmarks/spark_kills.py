"""kill -9 of a rank on Spark at a random moment, again and again: does the job end, by name, and is the result the same?

    python benchmarks/spark_kills.py --engine tensorflow --kills 20 --out benchmarks/results

Each trial trains the same run on two executors (`local-cluster[2,1,1024]`), kills one of its ranks after a drawn time, and
calls `fit` again. The program fails where a job does not end within its limit or does not name the rank, where a process is
left behind, or where the history differs from that of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from records import check, header, save

LIMIT_S = 60.0
EPOCHS = 12
# A run may have ended before its kill. That many trials are made for each kill, at most.
TRIES = 3
CLOSE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["horovod", "tensorflow"], default="tensorflow")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    with tempfile.TemporaryDirectory() as folder:
        result = trials(given.engine, given.kills, random.Random(given.seed), Path(folder))
    save(given.out, f"spark-kills-{given.engine}", header() | result)


def trials(engine: str, kills: int, drawn: random.Random, folder: Path) -> dict[str, Any]:
    from pyspark.sql import SparkSession

    import hvd_train
    import hvd_train.spark
    from hvd_train.errors import RankFailure

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.driver.memory", "1g")
    spark = builder.config("spark.ui.enabled", "false").config("spark.executor.memory", "1g").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    config = hvd_train.recipe("debug").replace(training={"num_epochs": EPOCHS})
    data = folder / "data"
    from hvd_train.data import prepare

    source = prepare(config.table, config.split)
    data.symlink_to(source)

    def fit(name: str) -> Any:
        run_dir = folder / name
        return hvd_train.spark.fit(data, config, spark=spark, num_proc=2, engine=engine, run_dir=run_dir, verbose=False)

    started = time.monotonic()
    whole = fit("whole")
    usual_s = time.monotonic() - started
    seconds, found = [], []
    for number in range(TRIES * kills):
        if len(seconds) == kills:
            break
        run_dir = folder / f"run-{number}"
        moment, rank = drawn.uniform(0.2, 0.95) * usual_s, drawn.randrange(2)
        killed: list[float] = []
        killer = threading.Thread(target=kill, args=(run_dir, rank, moment, killed), daemon=True)
        killer.start()
        outcome = "ended before"
        try:
            fit(run_dir.name)
        except RankFailure as error:
            seconds.append(time.monotonic() - killed[0])
            outcome = "named" if f"rank {rank} on host" in str(error) else f"not named: {error}"
        killer.join()
        left = [process.pid for process in ranks(run_dir)]
        report = fit(run_dir.name)
        apart = max(
            abs(one[key] - two[key]) / abs(one[key])
            for one, two in zip(whole.history, report.history, strict=True)
            for key in ("loss", "val_loss")
        )
        found.append({"rank": rank, "after_s": round(moment, 1), "outcome": outcome, "left": left, "apart": apart})
        print(json.dumps(found[-1]), flush=True)
        assert outcome in ("named", "ended before"), outcome
        assert not left
        assert apart < CLOSE
    spark.stop()
    assert not seconds or max(seconds) < LIMIT_S
    return {
        "engine": engine,
        "kills": len(seconds),
        "limit_s": LIMIT_S,
        "end_s": {"median": round(statistics.median(seconds), 1), "max": round(max(seconds), 1)} if seconds else None,
        "largest_difference": max(trial["apart"] for trial in found),
        "trials": found,
    }


def ranks(run_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if "hvd_train.cli.entry" in command and str(run_dir) in command:
                found.append(process)
    return found


def kill(run_dir: Path, rank: int, after_s: float, killed: list[float]) -> None:
    """Kill this rank so long after the call; not before it is there, and not at all where it has ended."""
    time.sleep(after_s)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and not (run_dir / "DONE").exists():
        for process in ranks(run_dir):
            with contextlib.suppress(psutil.Error, KeyError):
                environment = process.environ()
                of = environment.get("HOROVOD_RANK") or str(json.loads(environment["TF_CONFIG"])["task"]["index"])
                if of == str(rank):
                    killed.append(time.monotonic())
                    process.kill()
                    return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
