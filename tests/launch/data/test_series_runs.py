"""Series from the command line: train and test files on two ranks, then predictions of shorter series without labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
from processes import horovodrun, run
from series_files import dense, some_series, ts_text, write


def test_train_and_test_files_train_on_two_ranks_and_new_series_are_predicted(tmp_path: Path) -> None:
    train, test, new = (
        (some_series(n, 2, lengths, seed=n)) for n, lengths in ((96, (8, 12)), (30, (6, 14)), (9, (5, 9)))
    )
    paths = [write(tmp_path / f"X_{name}.ts", ts_text(*part)) for name, part in (("TRAIN", train), ("TEST", test))]
    run_dir, out = tmp_path / "run", tmp_path / "out.csv"
    flags = ["--recipe", "debug", "--transform", "series", "--num-epochs", "2", "--cache-dir", tmp_path / "cache"]
    trained = horovodrun(
        2, "hvd-train", "train", "--data", paths[0], "--test-data", paths[1], *flags, "--run-dir", run_dir
    )  # fmt: skip
    output = run(trained, timeout_s=240).output
    assert "series of 6 to 14 positions x 2 channels, padded to 14, 0 missing values" in output
    report = json.loads((run_dir / "report.json").read_text())
    assert report["config"]["table"]["test_path"] == str(paths[1])
    run(
        ["hvd-train", "predict", run_dir, "--data", write(tmp_path / "new.ts", ts_text(new[0], None)), "--out", out],
        timeout_s=120,
    )
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 9
    # The saved model is plain Keras and takes plain rows: each series, padded by missing values.
    logits = keras.models.load_model(run_dir / "model.keras")(dense(new[0], 14))
    assert np.isfinite(logits).all()
    names = [f"class{i}" for i in np.argmax(logits, axis=1)]
    assert [row["most_likely"] for row in rows] == names
