"""Seconds from the command to the end of the first steps, and from the last word to the end, as a user waits for them.

    python benchmarks/start.py --out benchmarks/results
    python benchmarks/start.py --before ../older/.venv       also with another environment, in turns

Run it where nothing else runs. The training is one to three steps of 1,000 songs, so what is timed is the start: the
launcher, Python, the imports, Horovod, the data, the model, the trace of the step and of the validation. The end is that of
all processes after the run said where its results are. The table has the imports alone, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from records import check, header, in_turn, run, save

from hvd_train.bench.figures import spread
from hvd_train.processes import jobs

LIMIT_S = 120.0
REPEATS = 5
FIRST_EPOCH = "epoch  1/1 "
# Its line is printed when the steps and the validation are done.
TRAIN = (
    *("hvd-train", "train", "--recipe", "reference", "--num-songs", "1000", "--local-batch-size", "256"),
    *("--num-epochs", "1", "--steps-per-execution", "1", "--run-dir"),
)
IMPORTS = ("python", "-c", f"import keras, tensorflow; print({FIRST_EPOCH!r}, flush=True)")
TRUE = ("python", "-c", f"print({FIRST_EPOCH!r}, flush=True)")
ROWS: dict[str, Callable[[str], Sequence[str]]] = {
    "one process": lambda run_dir: (*TRAIN, run_dir),
    "mpirun -np 2": lambda run_dir: ("mpirun", "-np", "2", "--bind-to", "none", *TRAIN, run_dir),
    "horovodrun -np 2": lambda run_dir: ("horovodrun", "-np", "2", *TRAIN, run_dir),
    "horovodrun -np 2, nothing but Python": lambda run_dir: ("horovodrun", "-np", "2", *TRUE),
    "TensorFlow and Keras alone, imported as they are": lambda run_dir: IMPORTS,
}


def start_and_end(command: Sequence[str], venv: Path) -> tuple[float, float]:
    """Seconds until the command prints the line of its first epoch, and from its last line until it has ended."""
    env = jobs.environment()
    env |= {"PATH": os.pathsep.join([str(venv / "bin"), env["PATH"]]), "PYTHONUNBUFFERED": "1"}
    if "OPAL_PREFIX" in env:
        env["OPAL_PREFIX"] = str(venv)
    with tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        limit = threading.Timer(LIMIT_S, jobs.kill, [process])
        limit.start()
        try:
            assert process.stdout is not None
            found, last = None, began
            for line in process.stdout:
                last = time.monotonic()
                if found is None and FIRST_EPOCH in line:
                    found = last - began
            code = process.wait()
            end = time.monotonic() - last
        finally:
            limit.cancel()
            jobs.kill(process)  # type: ignore[arg-type]
        if code != 0 or found is None:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {code}:\n{errors.read()[-2000:]}")
    return found, end


def measure(venvs: dict[str, Path], names: Sequence[str], repeats: int) -> dict[str, Any]:
    """Seconds by environment and row. The first run of each is not counted: it may convert the songs."""
    seconds: dict[str, dict[str, list[tuple[float, float]]]] = {which: {name: [] for name in names} for which in venvs}
    rows = [(which, name) for name in names for which in venvs]
    with tempfile.TemporaryDirectory(prefix="hvd_train-start-") as scratch:
        for repeat in range(-1, repeats):
            order = in_turn([f"{which}\n{name}" for which, name in rows], repeat)
            for number, (which, _, name) in enumerate(row.partition("\n") for row in order):
                command = ROWS[name](str(Path(scratch, f"{repeat}-{number}")))
                found = start_and_end(command, venvs[which])
                said = f"{found[0]:.2f} s, and {found[1]:.2f} s at the end"
                sys.stderr.write(f"{which}, {name}: {said}{'' if repeat >= 0 else ' (not counted)'}\n")
                if repeat >= 0:
                    seconds[which][name].append(found)
    return {
        what: {
            which: {name: spread([pair[part] for pair in s]) for name, s in its.items()}
            for which, its in seconds.items()
        }
        for part, what in enumerate(("seconds", "end_seconds"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the results; without it they are printed")
    parser.add_argument(
        "--before", type=Path, metavar="VENV", help="another environment that takes turns with this one"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of each row ({REPEATS})")
    parser.add_argument("--only", nargs="*", default=(), metavar="ROW", help="rows to measure")
    given = parser.parse_args()
    check(parser, out=given.out, only=given.only, rows=ROWS)
    venvs = {"now": Path(sys.prefix)}
    if given.before is not None:
        if not (given.before / "bin" / "hvd-train").exists():
            parser.error(f"--before {given.before}: there is no bin/hvd-train in it. Give a virtual environment.")
        venvs["before"] = given.before.resolve()
    names = [name for name in ROWS if not given.only or name in given.only]
    result = header() | {"repeats": given.repeats, **measure(venvs, names, given.repeats)}
    save(given.out, "start", result)


if __name__ == "__main__":
    run(main)
