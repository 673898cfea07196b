"""A format of tables from outside, in one file: two ranks train on it, and predict reads new rows by it without a flag."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from processes import mpirun, run

OWN = """
import numpy as np
from hvd_train.data import Table

class Scores(Table):
    def __init__(self, path, table_format):
        super().__init__(path, table_format)
        with path.open() as file:
            self.columns = tuple(file.readline().split())

    def chunks(self, columns):
        cells = np.loadtxt(self.path, skiprows=1, ndmin=2)
        yield self.chunk_of(cells, columns, start=0)
"""


@pytest.mark.slow
def test_a_format_from_outside_trains_on_two_ranks_and_predicts(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    table, run_dir = tmp_path / "rows.scores", tmp_path / "run"
    rng = np.random.default_rng(5)
    features = rng.normal(size=(1024, 4))
    cells = np.column_stack([features @ [1.0, -1.0, 0.5, 0.0], features])
    table.write_text("target a b c d\n" + "\n".join(" ".join(f"{cell:.6f}" for cell in row) for row in cells) + "\n")
    flags = ["--recipe", "debug", "--model", "mlp", "--label", "target", "--label-kind", "values", "--num-epochs", "2"]
    train = mpirun(
        2, "hvd-train", "train", "--data", table, "--format", "own.py:Scores", *flags, "--run-dir", run_dir,
        "--cache-dir", tmp_path / "cache",
    )  # fmt: skip
    run(train, timeout_s=180, cwd=tmp_path)
    report = json.loads((run_dir / "report.json").read_text())
    assert report["config"]["table"]["format"] == f"{tmp_path / 'own.py'}:Scores"
    run(["hvd-train", "predict", run_dir, "--data", table, "--out", tmp_path / "out.csv"], timeout_s=120)
    # The copy in the run directory reads new rows where the file is gone.
    (tmp_path / "own.py").unlink()
    run(["hvd-train", "predict", run_dir, "--data", table, "--out", tmp_path / "again.csv"], timeout_s=120)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 1024
