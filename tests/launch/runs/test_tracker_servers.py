"""Real MLflow and real wandb, read back. `make extras` installs them; without them these tests are skipped.

The clients are extras of this package, and the server of MLflow has an environment of its own, because it wants other
versions than a run. Its program is build/mlflow-server/bin/mlflow, or what MLFLOW_SERVER names.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pace import Pace
from processes import REPOSITORY, Finished, free_port, run, started

SERVER = Path(os.environ.get("MLFLOW_SERVER", REPOSITORY / "build" / "mlflow-server" / "bin" / "mlflow"))
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": None, "WANDB_API_KEY": None, "WANDB_MODE": None}
# A client that gives up by itself, before the run's own limit, is another case.
QUIET |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "900", "WANDB_INIT_TIMEOUT": "900"}
HELD_S = 300.0
# Not longer: the baselines, which come before the trackers begin, are validated at this pace, too.
STEP_S = 2.0
# A server starts seven processes for jobs that no test has.
ALONE = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
FLAGS = ("hvd-train", "train", "--recipe", "debug", "--num-songs", "2000")
LONG = ("--num-epochs", "30", "--early-stopping-patience", "0")
needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.extra]


class Mlflow:
    """The REST interface of a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/2.0/mlflow/{what}", timeout=30) as answer:
            return dict(json.load(answer))

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/2.0/mlflow/{what}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        found = self.get(f"metrics/get-history?run_id={run_id}&metric_key={metric}&max_results=10000")
        return [(int(point.get("step", 0)), float(point["value"])) for point in found.get("metrics", [])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    if not SERVER.exists():
        pytest.skip(f"the server of MLflow is not installed: {SERVER}")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [str(SERVER), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    path = os.pathsep.join([str(SERVER.parent), os.environ.get("PATH", os.defpath)])
    with started(command, timeout_s=1200, env={**QUIET, **ALONE, "PATH": path}, cwd=folder) as job:
        deadline = time.monotonic() + 120
        while True:
            assert job.process.poll() is None
            assert time.monotonic() < deadline, job.output
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            time.sleep(0.2)
        yield Mlflow(f"http://127.0.0.1:{port}")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    kept: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                kept.append(listening.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()
    for connection in kept:
        connection.close()


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + HELD_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def run_held(command: list[str], pace: Pace, condition: Callable[[], object], **options: Any) -> Finished:
    """Run a command whose validations take their time until the condition holds, such as that a client has begun."""
    with started([*command, *pace.flags], timeout_s=600, **options) as job:
        until(lambda: condition() or job.process.poll() is not None)
        pace.set(0.0)
        return job.wait(HELD_S)


@needs_mlflow
def test_a_server_of_mlflow_has_one_run_with_the_numbers_of_a_training_that_was_resumed(
    server: Mlflow, tmp_path: Path
) -> None:
    run_dir = tmp_path / "songs"
    env = {**QUIET, "MLFLOW_TRACKING_URI": server.url, "MLFLOW_EXPERIMENT_NAME": "resumed"}
    pace = Pace(tmp_path, STEP_S)
    more = ("--num-epochs", "12", "--early-stopping-patience", "0", "--trackers", "mlflow", "csv", *pace.flags)
    command = ["horovodrun", "-np", "2", *FLAGS, "--run-dir", str(run_dir), *more]
    with started(command, timeout_s=900, env=env) as job:
        until((run_dir / "trackers.json").exists)
        known = json.loads((run_dir / "trackers.json").read_text())["mlflow"]
        job.wait_for("epoch  3/12", timeout_s=HELD_S)
        pace.set(HELD_S)
        until(lambda: len(server.history(known["run_id"], "val_loss")) >= 3)
        job.signal(signal.SIGINT)
        pace.set(0.0)
        assert job.wait(60).code != 0
    # The end of a run that a signal stops waits a short time for a tracker.
    assert server.get(f"runs/get?run_id={known['run_id']}")["run"]["info"]["status"] in ("KILLED", "RUNNING")
    num_before = len(rows_of(run_dir))
    resumed = ["horovodrun", "-np", "2", *FLAGS[:2], "--resume", str(run_dir)]
    finished = run(resumed, timeout_s=HELD_S, env=env)
    assert "MlflowTracker" not in finished.output, finished
    experiment = server.get("experiments/get-by-name?experiment_name=resumed")["experiment"]["experiment_id"]
    (found,) = server.post("runs/search", experiment_ids=[experiment])["runs"]
    assert found["info"]["run_id"] == known["run_id"]
    assert found["info"]["run_name"] == "songs"
    assert found["info"]["status"] == "FINISHED"
    parameters = {one["key"]: one["value"] for one in found["data"]["params"]}
    assert parameters["training.num_epochs"] == "12"
    assert parameters["table.num_songs"] == "2000"
    rows = rows_of(run_dir)
    for metric in ("loss", "val_loss", "learning_rate", "samples_per_s", "seconds"):
        expected = {int(row["epoch"]): pytest.approx(float(row[metric])) for row in rows}
        found_there = dict(server.history(known["run_id"], metric))
        # What came last before the signal may be missing.
        assert expected.keys() - found_there.keys() <= set(range(4, num_before + 1))
        assert found_there == {epoch: expected[epoch] for epoch in found_there}
    steps = [step for step, _ in server.history(known["run_id"], "by_step/loss_on_rank_0")]
    assert steps == sorted(set(steps))
    assert steps
    files = server.get(f"artifacts/list?run_id={known['run_id']}&path=pictures")["files"]
    assert {file["path"] for file in files} == {f"pictures/{path.name}" for path in run_dir.glob("*.png")}
    report = json.loads((run_dir / "report.json").read_text())
    ((step, rmse),) = server.history(known["run_id"], "test/rmse")
    assert (step, rmse) == (report["best_epoch"], pytest.approx(report["metrics"]["test"]["rmse"]))


@needs_mlflow
def test_without_a_server_mlflow_writes_a_folder(tmp_path: Path) -> None:
    command = [*FLAGS, "--run-dir", "run", *LONG, "--trackers", "mlflow"]
    begun = (tmp_path / "run" / "trackers.json").exists
    finished = run_held(command, Pace(tmp_path, STEP_S), begun, env=QUIET, cwd=tmp_path)
    assert finished.code == 0, finished
    assert "MlflowTracker" not in finished.output, finished
    place = json.loads((tmp_path / "run" / "trackers.json").read_text())["mlflow"]
    if place["uri"].startswith("file:"):
        (loss,) = (tmp_path / "mlruns").glob(f"*/{place['run_id']}/metrics/val_loss")
        written = float(loss.read_text().splitlines()[0].split()[1])
        assert written == pytest.approx(float(rows_of(tmp_path / "run")[0]["val_loss"]))
    else:  # the whole MLflow is installed
        assert (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        pytest.param("mlflow", "MLFLOW_TRACKING_URI", marks=needs_mlflow),
        pytest.param("wandb", "WANDB_BASE_URL", marks=needs_wandb),
    ],
)
def test_a_server_that_never_answers_costs_ten_seconds_at_the_end_and_no_run(
    name: str, variable: str, silent_server: str, tmp_path: Path
) -> None:
    env = {**QUIET, variable: silent_server, "WANDB_API_KEY": "0" * 40}
    command = ["horovodrun", "-np", "2", *FLAGS, "--run-dir", str(tmp_path / "run"), "--num-epochs", "2"]
    finished = run([*command, "--trackers", name], timeout_s=HELD_S, env=env)
    message = f"{name.capitalize()}Tracker was not done 10 s after the end, and the run does not wait longer"
    assert finished.output.count(message) == 1, finished
    assert message in (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "run" / "DONE").exists()
    assert len(rows_of(tmp_path / "run")) == 2


@needs_wandb
def test_wandb_without_a_key_writes_a_run_with_its_numbers_and_settings(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    command = ["horovodrun", "-np", "2", *FLAGS, "--run-dir", str(run_dir), *LONG, "--trackers", "wandb"]
    written = "wandb/offline-run-*/run-*.wandb"
    finished = run_held(command, Pace(tmp_path, STEP_S), lambda: list(run_dir.glob(written)), env=QUIET)
    assert "WandbTracker" not in finished.output, finished
    (file,) = run_dir.glob(written)
    read = subprocess.run(
        ["python", "-c", READ_WANDB, str(file)], check=True, capture_output=True, text=True, timeout=60
    )
    found = json.loads(read.stdout)
    run_id = json.loads((run_dir / "trackers.json").read_text())["wandb"]["run_id"]
    assert (found["id"], found["name"], found["project"]) == (run_id, "run", "hvd_train")
    assert found["config"]["training.num_epochs"] == 30
    losses = {row["epoch"]: row["val_loss"] for row in found["history"] if "val_loss" in row}
    assert losses == {int(row["epoch"]): pytest.approx(float(row["val_loss"])) for row in rows_of(run_dir)}
    assert any("by_step/loss_on_rank_0" in row for row in found["history"])
    pictures = {key.removesuffix("/_type") for row in found["history"] for key in row if key.endswith("/_type")}
    assert pictures == {path.stem for path in run_dir.glob("*.png")} != set()


READ_WANDB = """
import json, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2

def chunks(content):
    # The log of LevelDB: blocks of 32 KiB, in which each chunk has a checksum, its length and its kind.
    at = 7
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        yield kind, content[at + 7 : at + 7 + length]
        at += 7 + length

found, data = {"history": []}, b""
for kind, chunk in chunks(Path(sys.argv[1]).read_bytes()):
    data = chunk if kind in (1, 2) else data + chunk
    if kind not in (1, 4):  # whole, or the last of several
        continue
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.HasField("run"):
        one = record.run
        config = {item.key: json.loads(item.value_json) for item in one.config.update}
        found |= {"id": one.run_id, "name": one.display_name, "project": one.project, "config": config}
    elif record.HasField("history"):
        row = {}
        for item in record.history.item:
            row["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        found["history"].append(row)
print(json.dumps(found))
"""
