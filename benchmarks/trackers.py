#!/usr/bin/env python3
"""Measure what a tracker costs a run: interleaved runs of two ranks with it and with none.

    python benchmarks/trackers.py --tracker tensorboard --repeats 6

Prints the median CPU time of all processes and the median wall time of each kind, and the differences of neighbours.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from hvd_train.processes import jobs

LIMIT_S = 300.0


def measured(tracker: str, epochs: int, run_dir: Path) -> tuple[float, float]:
    """CPU seconds of all processes of a run, and its wall seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    program = [
        str(Path(sys.prefix) / "bin" / "hvd-train"),
        "train",
        "--num-epochs",
        str(epochs),
        "--run-dir",
        str(run_dir),
    ]
    jobs.run([jobs.mpirun(2, [*program, "--early-stopping-patience", "0", "--tracker", tracker])], limit_s=LIMIT_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracker", default="tensorboard")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"none": [], given.tracker: []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(given.repeats):
            for tracker, runs in found.items():
                runs.append(measured(tracker, given.epochs, Path(folder) / f"{tracker}-{repeat}"))
                sys.stdout.write(f"{tracker:<12} CPU {runs[-1][0]:6.2f} s  wall {runs[-1][1]:6.2f} s\n")
                sys.stdout.flush()
    for index, name in enumerate(("CPU", "wall")):
        pairs = [b[index] - a[index] for a, b in zip(*found.values(), strict=True)]
        none = statistics.median(run[index] for run in found["none"])
        sys.stdout.write(f"{name}: {none:.2f} s without, {statistics.median(pairs):+.2f} s with {given.tracker} (median; "
                         f"{min(pairs):+.2f} to {max(pairs):+.2f})\n")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
