"""examples/serve.py answers over HTTP with what the run predicts."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import table, write
from processes import REPOSITORY, free_port, run, started

from hvd_train.cli.verbs import main

PACKAGES = ("fastapi", "uvicorn", "onnxruntime", "tf2onnx")
missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: make extras"),
]


def posted(port: int, rows: list[Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", json.dumps(rows).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.timeout(280)
def test_the_server_answers_with_the_predictions_of_the_run(tmp_path: Path) -> None:
    rows = table(200)
    data, run_dir = write(tmp_path / "songs.csv", rows), tmp_path / "run"
    flags = ["--recipe", "debug", "--num-epochs", "1", "--data", str(data), "--run-dir", str(run_dir)]
    run(["hvd-train", "train", *flags], timeout_s=100)
    assert main(["export", str(run_dir), "--format", "onnx", "--out", str(tmp_path / "onnx")]) == 0
    assert main(["predict", str(run_dir), "--data", str(data), "--out", str(tmp_path / "predicted.csv")]) == 0
    expected = list(csv.DictReader((tmp_path / "predicted.csv").read_text().splitlines()))
    port = free_port()
    server = [sys.executable, REPOSITORY / "examples" / "serve.py", tmp_path / "onnx" / "model.onnx", port]
    with started([str(word) for word in server], timeout_s=120) as job:
        job.wait_for("Uvicorn running", timeout_s=60)
        answer = posted(port, [[float(cell) for cell in row[1:]] for row in rows[1:]])
        assert answer["expected"] == pytest.approx([float(line["expected"]) for line in expected], abs=2e-3)
        assert len(answer["probabilities"]) == 200
        assert len(posted(port, [[None, 1, 2, 3]])["median"]) == 1
        with pytest.raises(urllib.error.HTTPError, match="422"):
            posted(port, [[1, 2, 3]])
