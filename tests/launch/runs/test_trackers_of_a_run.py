"""A tracker from outside in one file, under two ranks: it hears the run, and one that fails does not end it."""

from __future__ import annotations

import json
from pathlib import Path

from processes import horovodrun, run

OWN = '''
import json
from pathlib import Path
from hvd_train.runs import Tracker

class Recorder(Tracker):
    """Writes what it hears as lines of JSON."""

    def on_start(self, config, facts, run_dir):
        self.file = (Path(run_dir) / "recorded.jsonl").open("a")
        self.write("start", name=config["model"]["name"], ranks=facts["ranks"])

    def on_epoch_end(self, row, *, best):
        self.write("epoch", epoch=row["epoch"], val_loss=row["val_loss"])

    def on_end(self, report):
        self.write("end", rmse=report.metrics["test"]["rmse"])

    def close(self):
        self.write("close")
        self.file.close()

    def write(self, event, **values):
        self.file.write(json.dumps({"event": event, **values}) + "\\n")

class Fails(Tracker):
    def on_epoch_end(self, row, *, best):
        raise ConnectionError("the server is gone")
'''


def test_a_users_tracker_hears_the_run_and_one_that_fails_does_not_end_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    run_dir = tmp_path / "run"
    trackers = ("tensorboard", f"{tmp_path}/own.py:Recorder", f"{tmp_path}/own.py:Fails")
    flags = ("--recipe", "debug", "--num-epochs", "2", "--num-songs", "2000", "--run-dir", str(run_dir))
    finished = run(horovodrun(2, "hvd-train", "train", *flags, "--trackers", *trackers), timeout_s=240)
    assert finished.code == 0, finished
    message = "Fails failed in on_epoch_end (ConnectionError: the server is gone). The run goes on without it."
    assert finished.stdout.count(message) == 1, finished
    assert message in (run_dir / "log.txt").read_text()
    report = json.loads((run_dir / "report.json").read_text())
    assert report["config"]["training"]["trackers"] == list(trackers)
    assert [json.loads(line) for line in (run_dir / "recorded.jsonl").read_text().splitlines()] == [
        {"event": "start", "name": report["config"]["model"]["name"], "ranks": report["found"]["ranks"]},
        *({"event": "epoch", "epoch": row["epoch"], "val_loss": row["val_loss"]} for row in report["history"]),
        {"event": "end", "rmse": report["metrics"]["test"]["rmse"]},
        {"event": "close"},
    ]
    assert len(list((run_dir / "tensorboard").glob("events.out.tfevents.*"))) == 1


def test_an_unknown_tracker_is_refused_before_anything_starts(tmp_path: Path) -> None:
    finished = run(
        ["hvd-train", "train", "--run-dir", str(tmp_path / "run"), "--trackers", "tensorbord"],
        ok=None,
        timeout_s=60,
    )
    assert finished.code == 2, finished
    assert (
        "trackers = 'tensorbord' is not possible: choose tensorboard, mlflow, wandb, csv or none, or name your own"
        in finished.stderr
    )
    assert "Traceback" not in finished.output
    assert not (tmp_path / "run").exists()
