"""A table with columns of texts as a user types it: the same data at np = 1 and 2, and new rows with texts nobody has seen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from processes import mpirun, run

from hvd_train.cli.verbs import main

TASTES = {"red": "sweet", "green": "sour", "grey": "none"}


def fruit(num_rows: int = 600) -> pd.DataFrame:
    """The colour decides the taste; the weight says nothing, and some origins are missing."""
    rng = np.random.default_rng(0)
    colours = rng.choice(list(TASTES), num_rows)
    origins = rng.choice(["Chile", "Italy", ""], num_rows)
    tastes = [TASTES[colour] for colour in colours]
    return pd.DataFrame(
        {"weight": rng.normal(size=num_rows).round(3), "colour": colours, "origin": origins, "taste": tastes}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    fruit().to_csv(folder / "fruit.csv", index=False)
    assert main([*train(folder, "run"), "--num-epochs", "20", "--base-learning-rate", "0.01"]) == 0
    return folder


def train(folder: Path, name: str) -> list[str]:
    places = ["--run-dir", str(folder / name), "--cache-dir", str(folder / f"cache of {name}")]
    return [
        "train",
        "--recipe",
        "debug",
        "--model",
        "mlp",
        "--data",
        str(folder / "fruit.csv"),
        "--label",
        "taste",
        *places,
    ]


def test_two_ranks_make_the_same_data(finished: Path) -> None:
    run(mpirun(2, "hvd-train", *train(finished, "pair"), "--num-epochs", "1"), timeout_s=120)
    one, two = (json.loads((finished / name / "data.json").read_text()) for name in ("run", "pair"))
    assert one["checksum"] == two["checksum"]
    assert one["schema"] == two["schema"]
    colour = one["schema"]["text_columns"][0]
    assert (colour["name"], colour["categories"], colour["has_other"]) == ("colour", ["green", "grey", "red"], False)


def test_predict_and_evaluate_read_texts_as_train_did(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from hvd_train.inference import batch_predictor, load_trained
    from hvd_train.runs import RunDir

    new = pd.DataFrame(
        {"origin": ["Italy", "", "Mars", "Chile"], "colour": ["red", "grey", "green", "violet"], "weight": [0.0] * 4}
    )
    new.to_csv(finished / "new.csv", index=False)
    out = finished / "out.csv"
    assert main(["predict", str(finished / "run"), "--data", str(finished / "new.csv"), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["most_likely"] for row in rows[:3]] == ["sweet", "none", "sour"]
    assert float(rows[3]["probability"]) < 0.9, "a colour that nobody has seen"
    found = batch_predictor(load_trained(RunDir(finished / "run")))(pa.RecordBatch.from_pandas(new))
    assert np.allclose(found["probability"], [float(row["probability"]) for row in rows], atol=1e-6)
    capfd.readouterr()
    assert main(["evaluate", str(finished / "run"), "--data", str(finished / "fruit.csv"), "--json"]) == 0
    output = capfd.readouterr().out
    assert json.loads(output[output.index("{") :])["metrics"]["accuracy"] > 0.95


def test_that_a_value_is_missing_can_tell_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The recipe for tables on a table whose sweet fruits were never weighed, with a column without any value."""
    rows = fruit().drop(columns=["colour"]).assign(nothing=np.nan, same=1)
    rows.loc[rows["taste"] == "sweet", "weight"] = np.nan
    rows["taste"] = rows["taste"].where(rows["taste"] == "sweet", "other")
    rows.to_csv(tmp_path / "t.csv", index=False)
    flags = [
        "--data",
        str(tmp_path / "t.csv"),
        "--label",
        "taste",
        "--run-dir",
        str(tmp_path / "run"),
        "--num-epochs",
        "8",
        "--min-steps",
        "0",
        "--averaging",  # of so few steps it would be the first weights still
        "none",
        "--base-learning-rate",
        "6e-3",
    ]
    small = ["--cache-dir", str(tmp_path), "--dense-units", "32", "--parallel-members", "4"]
    assert main(["train", "--recipe", "table", *flags, *small]) == 0
    out = capfd.readouterr().out
    assert "1 columns have no value in train, and count for nothing: nothing" in out
    assert "and 1 columns of 0 and 1 tell where a cell is missing" in out
    # `same` lacks values in new rows alone.
    pd.DataFrame({"weight": [0.3, None], "origin": ["Chile"] * 2, "nothing": [None, 3.0], "same": [None, None]}).to_csv(
        tmp_path / "new.csv", index=False
    )
    files = ["--data", str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv")]
    assert main(["predict", str(tmp_path / "run"), *files]) == 0
    found = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["most_likely"] for row in found] == ["other", "sweet"]
    assert min(float(row["probability"]) for row in found) > 0.8


def test_an_export_has_the_mapping(finished: Path) -> None:
    folder = finished / "export"
    flags = ["--format", "savedmodel", "--out", str(folder), "--data", str(finished / "new.csv")]
    assert main(["export", str(finished / "run"), *flags]) == 0
    (rows,) = json.loads((folder / "metadata.json").read_text())["inputs"]
    assert [column["name"] for column in rows["columns"]][:4] == ["weight", "colour=green", "colour=grey", "colour=red"]
    assert rows["text_columns"][1]["categories"] == ["Chile", "Italy"]
