"""Networks for series in each format: series of unequal lengths and with missing values come out as Keras has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exported_models import FORMATS, IN_EXTRAS, computed, need_packages
from series_files import dense, some_series, ts_text, write

from hvd_train.cli.verbs import main

NETWORKS = ("lite", *(pytest.param(name, marks=IN_EXTRAS) for name in ("fcn", "resnet1d", "inception")))
LENGTH, CHANNELS = 40, 2


@pytest.fixture(scope="module")
def new_series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series of 5 to 40 positions x 2 channels without labels, some of which lack values."""
    series, _ = some_series(60, CHANNELS, (5, LENGTH), seed=3)
    rng = np.random.default_rng(4)
    for one in series[::3]:
        one[rng.integers(CHANNELS)][rng.integers(len(one[0]))] = float("nan")
    return write(tmp_path_factory.mktemp("new") / "new.ts", ts_text(series, None))


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on series of 12 to 40 positions."""
    folder = tmp_path_factory.mktemp("trained")
    series, labels = some_series(120, CHANNELS, (12, LENGTH))
    series[0] = [channel + [0.5] * (LENGTH - len(channel)) for channel in series[0]]  # one fills its row
    data = write(folder / "train.ts", ts_text(series, labels))
    flags = ["--recipe", "series", "--model", request.param, "--min-steps", "1", "--num-epochs", "1"]
    assert main(["train", *flags, "--data", str(data), "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter:UserWarning")
@pytest.mark.parametrize("kind", FORMATS)
def test_series_come_out_as_keras_has_them(
    trained: Path, new_series: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    need_packages(kind)
    import keras

    for out, flags, source in (
        (tmp_path / "random", [], "random series of every length"),
        (tmp_path / "given", ["--data", str(new_series)], str(new_series)),
    ):
        capfd.readouterr()
        assert main(["export", str(trained), "--format", kind, "--out", str(out), *flags]) == 0
        said = capfd.readouterr()
        assert "The largest difference from Keras is" in said.out
        assert source in said.out
        assert said.err == ""
        described = json.loads((out / "metadata.json").read_text())
        assert described["compared_with_keras"]["largest_difference"] <= 1e-5
        layout = described["inputs"][0]["layout"]
        assert (layout["positions"], layout["channels"]) == (LENGTH, CHANNELS)
    compute, model = computed(kind, out), keras.models.load_model(trained / "model.keras", compile=False)
    rows = dense(*_parsed(new_series))
    for some in (rows, rows[:1], rows[7:12], np.full((2, rows.shape[1]), np.nan, np.float32)):
        found = compute(some)
        np.testing.assert_allclose(found["probabilities"], model.predict(some, verbose=0), rtol=0, atol=1e-5)
    # Padding is the missing values after the end: another number in their place makes another series.
    padded = np.where(np.isnan(rows), 0, rows).astype(np.float32)
    assert np.abs(compute(padded)["probabilities"] - compute(rows)["probabilities"]).max() > 1e-3


def _parsed(path: Path) -> tuple[list[list[list[float]]], int]:
    lines = path.read_text().partition("@data\n")[2].splitlines()
    series = [
        [[float("nan") if cell == "?" else float(cell) for cell in channel.split(",")] for channel in line.split(":")]
        for line in lines
    ]
    return series, LENGTH
