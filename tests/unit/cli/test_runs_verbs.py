"""hvd-train runs, watch and report through the command line, on directories that were made up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from made_up_reports import report

from hvd_train.cli import main
from hvd_train.cli.runs.watch_verb import line
from hvd_train.config import RunConfig, toml
from hvd_train.runs import Progress, RunDir, summary_of, write_history


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complete(path: Path, **changes: object) -> RunDir:
    run, one = begun(path), report(**changes)
    write_history(one.history, run.metrics)
    run.report.write_text(json.dumps(one.as_json()))
    run.done.touch()
    return run


def begun(path: Path) -> RunDir:
    run = RunDir(path)
    run.create()
    run.config.write_text(toml.dumps(RunConfig()))
    return run


def test_runs_are_listed_chosen_and_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    better = {split: {"loss": 1.0, "rmse": 2.0} for split in ("val", "test")}
    complete(Path("runs/good"), metrics=better)
    complete(Path("runs/bad"))
    begun(Path("runs/new"))
    assert main(["runs", "--sort", "metric"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split()[:3] == ["run", "state", "model"]
    assert [row.split()[0] for row in rows[1:]] == ["new", "bad", "good"]
    assert "rmse 4.0000" in rows[2]
    assert main(["runs", "--state", "empty"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]] == ["new"]
    assert main(["runs", "--name", "oo", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert (only["path"], only["state"], only["value"]) == ("runs/good", "complete", 2.0)
    assert main(["runs", "--name", "nothing"]) == 0
    assert capsys.readouterr().out == "No such run is in runs/ (3 in all).\n"


def test_the_best_is_that_of_the_metric_which_chooses_the_best_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a metric of the user's own, whose direction no table knows, it is that of the best epoch."""
    for name, monitor, values in [
        ("a", "accuracy", (0.1, 0.4, 0.3)),
        ("b", "accuracy", (0.1, 0.2, 0.3)),
        ("c", "own", (3.0, 9.0, 5.0)),
    ]:
        run = complete(Path("runs") / name)
        run.config.write_text(toml.dumps(RunConfig().replace(training={"monitor": f"val_{monitor}"})))
        head = f"epoch,val_loss,val_{monitor},seconds"
        run.metrics.write_text("\n".join([head, *(f"{epoch},1.0,{x},1.0" for epoch, x in enumerate(values, 1))]) + "\n")
        run.report.write_text(json.dumps(json.loads(run.report.read_text()) | {"best_epoch": 3}))
    assert main(["runs", "--sort", "best"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "best val" in rows[0]
    assert [row.split()[0] for row in rows[1:]] == ["b", "a", "c"]
    assert "accuracy 40.00 %" in rows[2]
    assert "own 5.0000" in rows[3]
    assert main(["watch", "runs/a", "--once"]) == 0
    assert "best validation accuracy 40.00 %" in capsys.readouterr().out


def test_runs_that_are_not_there_are_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--runs", "nowhere"]) == 2
    assert "nowhere cannot be read: No such file or directory. --runs names the directory" in capsys.readouterr().err


def test_report_writes_the_page_and_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = complete(Path("runs/one")), complete(Path("more/one"))
    assert main(["report", "runs/one"]) == 0
    assert "<h1>one</h1>" in one.page.read_text()
    assert not other.page.exists()
    assert main(["report", "runs/one", "more/one", "--out", "both.html"]) == 0
    assert "runs/one, more/one" in Path("both.html").read_text()
    assert capsys.readouterr().out.splitlines() == ["written: runs/one/report.html", "written: both.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the directory of a run"),
        (["runs/new"], "runs/new is not complete yet: it has no report.json"),
        (["nowhere"], "nowhere is not the directory of a run"),
    ],
)
def test_report_refuses_what_is_no_complete_run(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(Path("runs/new"))
    assert main(["report", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_watch_ends_with_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    complete(Path("runs/done"))
    assert main(["watch", "runs/done"]) == 0
    assert "complete  3 epochs  best validation loss 1.3333" in capsys.readouterr().out
    begun(Path("runs/stopped")).last.touch()
    assert main(["watch", "runs/stopped"]) == 1
    assert "stopped  0 epochs" in capsys.readouterr().out
    assert main(["watch", "runs/stopped", "--once"]) == 0
    assert main(["watch", "nowhere", "--once"]) == 2
    assert "nowhere is not the directory of a run" in capsys.readouterr().err


def test_a_line_says_how_far_a_run_is_and_that_it_is_silent() -> None:
    run = begun(Path("runs/live"))
    progress = Progress(
        time=1000.0, started=900.0, epoch=2, num_epochs=4, step=30, num_steps=60, loss=2.5, samples_per_s=1234.5, seconds_left=75.0
    )  # fmt: skip
    running = summary_of(run.path)
    object.__setattr__(running, "state", "running")
    assert line(progress, running, 1015.0) == (
        "running  epoch 2/4  step 30/60  loss 2.5  1,234 samples/s  at most 0:01:00 left"
    )
    assert line(progress, running, 1200.0).endswith("at most 0:00:00 left  the last sign was 3 min ago")


def test_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    complete(Path("runs/one"))
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    for name in ("LOCAL_RANK", "NODE_RANK"):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "2")
    for arguments in (["runs"], ["report", "runs/one"], ["watch", "runs/one"]):
        assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    assert not os.path.exists("runs/one/report.html")
