"""What becomes of TensorFlow's and Keras' own ways to train on two processes today: the outcome of each, in a dated file.

    python benchmarks/peers/strategies.py --tf-keras FOLDER --jax PYTHON --tensorflow215 PYTHON --out benchmarks/results

FOLDER comes from `pip install --no-deps --target FOLDER tf_keras==2.21.*`; the two PYTHONs are interpreters with jax and keras, and
with TensorFlow 2.15. What is not given is left out. Each way runs a short fit() of the same net on two processes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from compare import environment, tf_configs  # noqa: E402
from records import check, header, run, save  # noqa: E402

LIMIT_S = 120.0
EPOCHS = "2"
MIRRORED, JAX = HERE / "multi_worker_mirrored.py", HERE / "keras_distribution.py"


def outcome(python: str, program: Path, extra: dict[str, str]) -> dict[str, Any]:
    """How two processes of this program end: their exit codes, and the first error that one of them tells."""
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch) / f"{n}" for n in range(2)]
        started = []
        for config, path in zip(tf_configs(), outputs, strict=True):
            settings = {"TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "3", "PEER_EPOCHS": EPOCHS, "PEER_SECONDS": "1"}
            env = environment(Path(python).parent, settings | extra)
            with path.open("w") as out:
                started.append(
                    subprocess.Popen(
                        [python, str(program)], env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                    )
                )
        try:
            codes: list[int | None] = []
            for process in started:
                try:
                    codes.append(process.wait(LIMIT_S))
                except subprocess.TimeoutExpired:
                    codes.append(None)
        finally:
            for process in started:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        texts = [path.read_text(errors="replace") for path in outputs]
    errors = [
        line for text in texts for line in re.findall(r"^(?:\w+\.)*\w+(?:Error|Exception)\b.*$", text, re.MULTILINE)
    ]
    return {"exit_codes": codes, "trains": codes == [0, 0], "error": errors[0][:300] if errors else None}


def version(python: str, *names: str, path: str = "") -> str:
    code = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    env = {**os.environ, "PYTHONPATH": path} if path else None
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, env=env)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-keras", type=Path)
    parser.add_argument("--jax")
    parser.add_argument("--tensorflow215")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    tensorflow = "tensorflow-cpu"
    ways: dict[str, tuple[str, Path, dict[str, str], str]] = {
        "MultiWorkerMirroredStrategy, Keras 3": (
            sys.executable, MIRRORED, {}, version(sys.executable, tensorflow, "keras"),
        )
    }  # fmt: skip
    if given.tf_keras:
        path = {"PYTHONPATH": str(given.tf_keras), "TF_USE_LEGACY_KERAS": "1"}
        about = version(sys.executable, tensorflow, "tf_keras", path=str(given.tf_keras))
        ways["MultiWorkerMirroredStrategy, tf_keras"] = (sys.executable, MIRRORED, path, about)
    if given.tensorflow215:
        about = version(given.tensorflow215, tensorflow, "keras")
        ways["MultiWorkerMirroredStrategy, Keras 2"] = (given.tensorflow215, MIRRORED, {}, about)
    if given.jax:
        ways["keras.distribution, JAX"] = (given.jax, JAX, {}, version(given.jax, "jax", "keras"))
    found = {}
    for name, (python, program, extra, about) in ways.items():
        found[name] = {"versions": about, **outcome(python, program, extra)}
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    save(given.out, "strategies", {**header(), "ways": found}, again=found, tables=("ways",))


if __name__ == "__main__":
    run(main)
