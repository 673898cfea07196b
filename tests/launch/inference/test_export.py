"""`hvd-train export` as a user types it: real rows go through each format and come out as Keras and `predict` have them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import FORMATS, IN_EXTRAS, computed, need_packages
from processes import mpirun, run
from real_rows import REAL_ROWS, needs_real_rows

from hvd_train.cli.verbs import main

HEAD = REAL_ROWS / "msd_head.csv"
HEADS = {
    "softmax": ("--loss", "cross-entropy"),
    "ordinal": ("--loss", "coral"),
    "gaussian": ("--loss", "gaussian"),
    "gaussian of values": ("--loss", "gaussian", "--label-kind", "values"),
    "tabm": ("--loss", "cross-entropy", "--model", "tabm", "--arrangement", "piecewise"),
}
LABELS = ("median", "most_likely", "low_90", "high_90")


@pytest.fixture(
    scope="module", params=[head if head == "softmax" else pytest.param(head, marks=IN_EXTRAS) for head in HEADS]
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 800 real songs."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    flags = ["--recipe", "debug", "--data", str(HEAD), "--run-dir", str(run_dir), "--num-epochs", "2"]
    assert main(["train", *flags, *HEADS[request.param]]) == 0
    return run_dir


@needs_real_rows
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter:UserWarning")
@pytest.mark.parametrize("kind", FORMATS)
def test_real_rows_come_out_as_keras_has_them(
    trained: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    need_packages(kind)
    import keras

    out = tmp_path / "export"
    code = main(["export", str(trained), "--format", kind, "--out", str(out), "--data", str(HEAD)])
    gaussian = 'loss = "gaussian"' in (trained / "config.toml").read_text()
    if kind == "litert" and gaussian and code == 2:
        assert "no counterpart of Erf" in capfd.readouterr().err  # the probabilities of years need it
        assert not out.exists()
        return
    assert code == 0
    said = capfd.readouterr()
    assert "he largest difference from Keras is" in said.out
    assert said.err == ""
    rows = np.loadtxt(HEAD, delimiter=",", dtype=np.float32)[:, 1:]
    rows[5, 7] = np.nan
    compute = computed(kind, out)
    for some in (rows, rows[:1], rows[5:12]):
        found = compute(some)
        expected = keras.models.load_model(trained / "model.keras", compile=False).predict(some, verbose=0)
        if isinstance(expected, dict):
            # After two epochs some Gaussians lie beyond the last year. What remains is divided by its small sum, and so is
            # the rounding of each runtime's erf.
            close = 2e-4 if gaussian else 1e-5
            np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=0, atol=close)
            np.testing.assert_allclose(found["expected"], expected["expected"][:, 0], rtol=1e-5)
            assert (found["most_likely"] == expected["most_likely"][:, 0]).mean() > 0.99
        else:
            np.testing.assert_allclose(found["predicted"], expected[:, 0], rtol=1e-5)
            np.testing.assert_allclose(found["deviation"], expected[:, 1], rtol=1e-5)
    assert main(["predict", str(trained), "--data", str(HEAD), "--out", str(tmp_path / "predicted.csv")]) == 0
    lines = list(csv.DictReader((tmp_path / "predicted.csv").read_text().splitlines()))
    found = compute(np.loadtxt(HEAD, delimiter=",", dtype=np.float32)[:, 1:])
    for name in lines[0]:
        of_predict = np.array([float(line[name]) for line in lines])
        if name in LABELS:  # a tie may be decided by a rounding
            assert (found[name] == of_predict).mean() > 0.99, name
        else:
            np.testing.assert_allclose(found[name], of_predict, rtol=1e-5, atol=1e-2 if gaussian else 1e-3)
    description = json.loads((out / "metadata.json").read_text())
    assert {output["name"] for output in description["outputs"]} == set(found)
    assert {output["name"]: output["dtype"] for output in description["outputs"]} == {
        name: str(value.dtype) for name, value in found.items()
    }
    assert description["inputs"][0]["shape"] == [None, 90]
    assert description["compared_with_keras"]["largest_difference"] <= (2e-4 if gaussian else 1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "predicted.csv"], "something is left behind"


def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*flags: str) -> str:
        capfd.readouterr()
        code = main(["export", *flags])
        message = capfd.readouterr().err
        assert message.count("error: ") == 1
        assert "Traceback" not in message
        return f"{code} {message}"

    begun, occupied = tmp_path / "begun", tmp_path / "occupied"
    begun.mkdir()
    occupied.mkdir()
    assert "there is no such directory" in refused(str(tmp_path / "no"), "--out", str(tmp_path / "out"))
    assert "2 error: " in (said := refused(str(begun), "--out", str(tmp_path / "out")))
    assert "has no model yet" in said
    (begun / "model.keras").write_bytes(b"PK")
    (occupied / "saved_model.pb").write_bytes(b"")
    assert "2 error: " in (said := refused(str(begun), "--out", str(occupied)))
    assert "is never mixed with it" in said
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "3 error: " in (said := refused(str(begun), "--format", "onnx", "--out", str(tmp_path / "out")))
    assert "pip install 'hvd_train[onnx]'" in said


def test_a_conversion_that_changes_predictions_is_found() -> None:
    from hvd_train.inference.exported.comparison import largest_difference

    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)
    right: dict[str, Any] = {"probabilities": probabilities, "median": np.array([1990, 1992])}
    assert largest_difference(right, right) == 0
    # The first row has half of its probability at its first label: rounding decides.
    assert largest_difference(right, {**right, "median": np.array([1991, 1992])}) < 1e-6
    assert largest_difference(right, {**right, "median": np.array([1990, 1991])}) > 0.1
    assert largest_difference(right, {**right, "probabilities": probabilities + 0.01}) == pytest.approx(0.01, rel=1e-3)
    assert largest_difference(right, {"probabilities": probabilities}) == float("inf")
    assert largest_difference(right, {**right, "median": np.array([1990])}) == float("inf")


@needs_real_rows
@pytest.mark.slow
@pytest.mark.parametrize("trained", ["softmax"], indirect=True)
def test_the_root_alone_exports_under_mpirun(trained: Path, tmp_path: Path) -> None:
    done = run(mpirun(2, "hvd-train", "export", trained, "--out", tmp_path / "songs" / "1"), timeout_s=90)
    assert done.stdout.count("written: ") == 1
    assert (tmp_path / "songs" / "1" / "saved_model.pb").is_file()
