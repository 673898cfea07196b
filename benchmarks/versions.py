#!/usr/bin/env python3
"""Try hvd_train with several versions of TensorFlow and Python, and make the table of docs/how-to/install.md.

    python benchmarks/versions.py 3.11-2.18 3.12-2.20 --pythons ~/.pyenv/versions --out benchmarks/results
    python benchmarks/versions.py --write          # the table into the page

Each trial makes an empty environment from that Python, installs the wheel of this checkout with that TensorFlow, Keras (the
newest that it allows, or the one of a third part, as in 3.10-2.18-3.6.0) and Open MPI from the package index, and runs
`hvd-train horovod install`, which builds Horovod and adds on two ranks. Then two ranks train the script of the README with
`hvd_train.keras`, and end with equal weights. With --stock it is Horovod with the patch alone without which it does not compile.
With --suite, a checkout of Horovod 0.28.1, its own tests of its Keras interface run through `hvd_train.keras` at np = 2. A build takes five minutes of two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
STEP_TIMEOUT_S = 3000.0
# Horovod's own script with one import changed; then whether both ranks have the same weights.
TRAIN = f"""
import runpy, sys
names = runpy.run_path({str(REPOSITORY / "examples" / "horovod_script.py")!r})
weights = b"".join(w.tobytes() for w in names["model"].get_weights())
if len(set(names["hvd"].allgather_object(weights))) > 1:
    sys.exit("error: the weights differ")
if names["hvd"].rank() == 0:
    sys.stdout.write("equal weights on {{}} ranks\\n".format(names["hvd"].size()))  # at once, so that nothing comes between
"""
PAGE = REPOSITORY / "docs" / "how-to" / "install.md"
MARKS = re.compile(r"(<!-- versions: begin -->)\n.*?(<!-- versions: end -->)", re.DOTALL)
FILE = "versions_{python}-{tensorflow}-{keras}{stock}.json"


@dataclass
class Trial:
    """What happened. A step that was not reached is empty."""

    python: str
    tensorflow: str
    keras: str
    stock: bool
    build: str = ""
    train: str = ""
    suite: str = ""
    build_s: float = 0.0
    date: str = ""


def step(*command: str | Path, env: dict[str, str] | None = None) -> tuple[str, float]:
    """What it printed and its seconds. Raises RuntimeError with the last line where it failed."""
    started = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_TIMEOUT_S,
    )
    sys.stderr.write(done.stdout)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "rror" in line] or done.stdout.splitlines() or ["nothing"]
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {lines[-1].strip()}")
    return done.stdout, time.monotonic() - started


def attempt(name: str, pythons: Path, wheel: Path, *, stock: bool, suite: Path | None) -> Trial:
    python, tensorflow, *rest = name.split("-")
    found = sorted(pythons.glob(f"{python}.*/bin/python"))
    interpreter = str(found[-1]) if found else shutil.which(f"python{python}")
    trial = Trial(python, tensorflow, rest[0] if rest else "", stock, date=time.strftime("%Y-%m-%d"))
    if interpreter is None:
        trial.build = f"no Python {python} here"
        return trial
    with tempfile.TemporaryDirectory(prefix="hvd_train-versions-") as folder:
        place = Path(folder) / "venv"
        at = {
            "PATH": f"{place}/bin:{os.environ['PATH']}",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }
        at |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        bin_ = place / "bin"
        try:
            step(interpreter, "-m", "venv", place)
            keras = f"keras=={trial.keras}" if trial.keras else "keras>=3.6"
            what = [f"{wheel}[cpu]", f"tensorflow-cpu=={tensorflow}.*", keras]
            step(bin_ / "pip", "install", "-q", "--disable-pip-version-check", *what, env=at)
            versions = "import importlib.metadata as m; print(m.version('tensorflow-cpu'), m.version('keras'))"
            trial.tensorflow, trial.keras = step(bin_ / "python", "-c", versions)[0].split()
            build = "from hvd_train.horovod_build import install_horovod as i; i('openmpi', only_compiles=True)"
            command = [bin_ / "python", "-c", build] if stock else [bin_ / "hvd-train", "horovod", "install"]
            trial.build_s = step(*command, env=at)[1]
            trial.build = "yes"
            said = step(bin_ / "horovodrun", "-np", "2", bin_ / "python", "-c", TRAIN, env=at)[0]
            trial.train = "yes" if said.count("equal weights on 2 ranks") == 1 else "the weights differ"
            if stock and said.count("not built by hvd_train") != 1:
                trial.train = "not told once"
            if suite is not None:
                step(bin_ / "pip", "install", "-q", "--disable-pip-version-check", "pytest", "parameterized", env=at)
                trial.suite = own_suite(bin_, suite, at)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed = next(field for field in ("build", "train", "suite") if not getattr(trial, field))
            setattr(trial, failed, f"no: {error}")
    return trial


def own_suite(bin_: Path, source: Path, env: dict[str, str]) -> str:
    """Horovod's test/parallel/test_tensorflow2_keras.py with its imports of Horovod changed. `source` is Horovod's repository.

    One test is left out: it is of `keras.optimizers.legacy`, which Keras 3 removed.
    """
    text = (source / "test" / "parallel" / "test_tensorflow2_keras.py").read_text()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test_through_hvd_train.py"
        for module in ("horovod.tensorflow.keras as hvd", "horovod.keras as hvd_keras"):
            text = text.replace(f"import {module}", f"import hvd_train.keras as {module.split()[-1]}")
        file.write_text(text)
        path = f"{source / 'test' / 'parallel'}:{source / 'test' / 'utils'}"
        pytest = [
            bin_ / "python",
            "-m",
            "pytest",
            "-q",
            "--color=no",
            "-p",
            "no:cacheprovider",
            "-k",
            "not test_legacy_optimizer",
            file,
        ]
        said = step(bin_ / "mpirun", "-np", "2", "--bind-to", "none", *pytest, env={**env, "PYTHONPATH": path})[0]
        return next(
            (
                re.sub(r",? \d+ warnings?| in .*", "", line.strip("= "))
                for line in reversed(said.splitlines())
                if " passed" in line
            ),
            "no",
        )


def table(folder: Path) -> str:
    trials = [Trial(**json.loads(path.read_text())) for path in sorted(folder.glob("versions_*.json"))]
    trials.sort(key=lambda t: (tuple(map(int, t.tensorflow.split("."))), tuple(map(int, t.python.split("."))), t.stock))
    lines = [
        "| TensorFlow | Keras | Python | Horovod | builds | two ranks train | Horovod's own Keras tests |",
        "|---|---|---|---|---|---|---|",
    ]
    for t in trials:
        kind = "stock, made to compile" if t.stock else "patched"
        built = f"{t.build}, {t.build_s:.0f} s" if t.build == "yes" else t.build
        lines.append(
            f"| {t.tensorflow} | {t.keras} | {t.python} | {kind} | {built} | {t.train or '-'} | {t.suite or '-'} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", metavar="PYTHON-TENSORFLOW[-KERAS]")
    parser.add_argument("--pythons", type=Path, default=Path.home() / ".pyenv" / "versions")
    parser.add_argument("--wheel", type=Path, help="of hvd_train; by default the newest in dist/")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--suite", type=Path, help="a checkout of Horovod 0.28.1, for its own tests")
    parser.add_argument("--write", action="store_true", help="write the table of the results in --out into the page")
    given = parser.parse_args()
    if given.write:
        PAGE.write_text(MARKS.sub(lambda found: f"{found[1]}\n{table(given.out)}\n{found[2]}", PAGE.read_text()))
        return 0
    wheels = sorted((REPOSITORY / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    wheel = given.wheel or (wheels[-1] if wheels else None)
    if wheel is None:
        parser.error("there is no wheel in dist/: make dist")
    for name in given.trials:
        trial = attempt(name, given.pythons, wheel.resolve(), stock=given.stock, suite=given.suite)
        stock = "-stock" if given.stock else ""
        file = FILE.format(python=trial.python, tensorflow=trial.tensorflow, keras=trial.keras or "any", stock=stock)
        (given.out / file).write_text(json.dumps(asdict(trial), indent=2) + "\n")
        sys.stdout.write(f"{trial}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
