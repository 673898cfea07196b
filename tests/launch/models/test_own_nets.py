"""One network and one loss from outside: trained at np = 2, resumed, evaluated, predicted, opened in plain Keras."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from processes import Finished, horovodrun, run

SOURCE = Path(__file__).with_name("own_nets.py")
SMALL = ("--num-songs", "1200", "--num-epochs", "1", "--global-batch-size", "120", "--num-virtual-shards", "12")
PLAIN_KERAS = """
import sys
sys.modules["horovod"] = None
import keras, numpy as np
import nets
model = keras.models.load_model(sys.argv[1], custom_objects={"Gate": nets.Gate, "leaky": nets.leaky}, compile=False)
assert isinstance(model.get_layer("gate"), nets.Gate)
print(model.get_layer("batch_normalization").__class__.__module__)
print("predicted", float(model.predict(np.load(sys.argv[2]), verbose=0)[0, 0]))
"""


def train(np_: int, folder: Path, *flags: str, cwd: Path, ok: bool = True) -> Finished:
    command = ["hvd-train", "train", *SMALL, "--run-dir", str(folder), *flags]
    return run(horovodrun(np_, *command) if np_ > 1 else command, timeout_s=240, cwd=cwd, ok=ok)


@dataclass(frozen=True)
class Trained:
    """A run whose network and loss are gone, and a directory of somebody else."""

    run_dir: Path
    elsewhere: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("own_nets")
    work, elsewhere, run_dir = folder / "work", folder / "elsewhere", folder / "run"
    work.mkdir()
    elsewhere.mkdir()
    shutil.copy(SOURCE, work / "nets.py")
    flags = ("--model", "nets.py:wide", "--model-options", "width=6", "units=5,4", "--loss", "nets.py:Pinball")
    train(2, run_dir, *flags, "--check-equal-weights", cwd=work)
    # The run's own copy is what counts.
    (work / "nets.py").write_text("raise RuntimeError('changed')")
    return Trained(run_dir, elsewhere)


def test_a_network_and_a_loss_of_one_file(trained: Trained) -> None:
    """Evaluated from the directory of another, after the file was changed."""
    report = json.loads((trained.run_dir / "report.json").read_text())
    scored = run(["hvd-train", "evaluate", str(trained.run_dir), "--json"], timeout_s=120, cwd=trained.elsewhere)
    loss = json.loads(scored.stdout)["metrics"]["loss"]
    assert loss == pytest.approx(report["metrics"]["test"]["loss"], rel=1e-6)


@pytest.mark.slow  # four more starts of a program
def test_they_predict_open_in_plain_keras_and_go_on(trained: Trained, tmp_path: Path) -> None:
    run_dir, elsewhere = trained.run_dir, trained.elsewhere
    (elsewhere.parent / "work" / "nets.py").unlink(missing_ok=True)
    rows = np.random.default_rng(0).normal(size=(3, 90)).astype(np.float32)
    out = tmp_path / "out.csv"
    names = json.loads((run_dir / "data.json").read_text())["schema"]["feature_names"]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows.tolist()])
    predict = ["hvd-train", "predict", str(run_dir), "--data", str(tmp_path / "rows.csv"), "--out", str(out)]
    run(horovodrun(2, *predict), timeout_s=120, cwd=elsewhere)
    value = float(out.read_text().splitlines()[1].split(",")[0])
    shutil.copy(SOURCE, elsewhere / "nets.py")
    np.save(tmp_path / "rows.npy", rows)
    plain = run(
        [sys.executable, "-c", PLAIN_KERAS, str(run_dir / "model.keras"), str(tmp_path / "rows.npy")],
        timeout_s=120,
        cwd=elsewhere,
    )
    assert "keras.src.layers" in plain.stdout
    assert float(plain.stdout.split("predicted ")[1].split()[0]) == pytest.approx(value, rel=1e-5)
    (elsewhere / "nets.py").unlink()
    # Resumed where the file is gone, for an epoch more.
    more = run(["hvd-train", "train", "--resume", str(run_dir), "--num-epochs", "2"], timeout_s=240, cwd=elsewhere)
    assert "is gone: the run continues with the copy" in more.output.replace("\n", " ")


def test_what_cannot_be_had_is_one_message_and_no_traceback(tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path / "nets.py")
    for number, (flags, words) in enumerate(
        [
            (("--model", "nets.py:wide", "--model-options", "widht=6"), "no option 'widht'. The options are: width"),
            (("--model", "nets.py:broken"), "cannot be built: ValueError in line"),
            (("--model", "nets.py:wide", "--filters", "8"), "--filters has no effect"),
        ]
    ):
        done = train(1, tmp_path / f"run-{number}", *flags, cwd=tmp_path, ok=False)
        flat = " ".join(done.output.split())
        assert words in flat, done
        assert "Traceback" not in done.output, done
