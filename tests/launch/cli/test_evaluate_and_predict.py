"""`hvd-train evaluate` and `predict` as a user types them, on one rank and on two."""

from __future__ import annotations

import csv
import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import table, write
from disks import mounted_disk
from processes import BIN, REPOSITORY, mpirun, run

from hvd_train.cli.verbs import main

HOST = socket.gethostname()


def test_evaluate_scores_every_row_once_at_any_np(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """401 rows in one chunk or more, at np = 1 and 2: the same figures; and those of the run's own test split."""
    rows = table(404, seed=1)
    for index in (3, 50, 404):
        rows[index][0] = ""
    write(finished / "more.csv", rows)
    flags = ["evaluate", str(finished / "run"), "--json"]
    more = [*flags, "--data", str(finished / "more.csv"), "--missing-labels", "drop"]
    alone = _json(_output(more, capfd))
    pair = _json(run(mpirun(2, "hvd-train", *more), timeout_s=60).stdout)
    assert alone["rows"] == pair["rows"] == 401
    assert alone["rows_without_label"] == pair["rows_without_label"] == 3
    assert pair["metrics"] == pytest.approx(alone["metrics"], rel=1e-9)
    assert pair["baselines"] == pytest.approx(alone["baselines"], rel=1e-12)
    own = _json(_output(flags, capfd))
    report = json.loads((finished / "run" / "report.json").read_text())
    assert own["metrics"] == pytest.approx(report["metrics"]["test"], rel=1e-6)
    assert own["baselines"] == pytest.approx(report["baselines"]["test"], rel=1e-9)


def _output(argv: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Of a command on one rank, in this process, where TensorFlow is loaded already."""
    capfd.readouterr()
    assert main(argv) == 0
    return capfd.readouterr().out


def _json(output: str) -> dict:
    return json.loads(output[output.index("{") :])


def test_predict_writes_a_line_for_every_row_in_order(finished: Path, tmp_path: Path) -> None:
    rows = table(333, seed=2)
    write(tmp_path / "new.csv", [row[1:] for row in rows])  # no label column
    outputs = []
    for np_ in (1, 2):
        out = tmp_path / f"predictions{np_}.csv"
        flags = ["predict", str(finished / "run"), "--data", str(tmp_path / "new.csv"), "--out", str(out)]
        if np_ == 1:
            assert main(flags) == 0
        else:
            run(mpirun(2, "hvd-train", *flags), timeout_s=60)
        outputs.append(list(csv.DictReader(out.read_text().splitlines())))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 333
    assert set(outputs[0][0]) == {"expected", "median", "most_likely", "probability", "low_90", "high_90"}
    truth = np.array([row[0] for row in rows[1:]], float)
    expected = np.array([float(line["expected"]) for line in outputs[0]])
    assert np.corrcoef(truth, expected)[0, 1] > 0.5, "in another order than the rows"
    assert all(
        int(line["low_90"]) <= int(line["high_90"]) and 0 < float(line["probability"]) <= 1 for line in outputs[0]
    )


@pytest.mark.parametrize("np_", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_predict_goes_through_pipes_and_writes_parquet(finished: Path, tmp_path: Path, np_: int) -> None:
    """Three times the same predictions: from file to file, from pipe to pipe, and as Parquet."""
    import pyarrow.parquet

    new = write(tmp_path / "new.csv", [row[1:] for row in table(333, seed=2)])
    predict = [str(BIN / "hvd-train"), "predict", str(finished / "run")]
    launched = predict if np_ == 1 else mpirun(2, *predict)
    run([*launched, "--data", str(new), "--out", str(tmp_path / "plain.csv")], timeout_s=60)
    piped = run(["bash", "-c", f"cat {new} | {' '.join(launched)} --data - --out -"], timeout_s=60)
    assert piped.stdout == (tmp_path / "plain.csv").read_text(), str(piped)
    assert "333 rows predicted: standard output" in piped.stderr
    run([*launched, "--data", str(new), "--out", str(tmp_path / "same.parquet")], timeout_s=60)
    columns = pyarrow.parquet.read_table(tmp_path / "same.parquet").to_pydict()
    lines = list(csv.DictReader((tmp_path / "plain.csv").read_text().splitlines()))
    assert list(columns) == list(lines[0])
    for name, values in columns.items():
        whole = name in ("median", "most_likely", "low_90", "high_90")
        assert {type(value) for value in values} == {int if whole else float}
        assert values == pytest.approx([float(line[name]) for line in lines], abs=0 if whole else 6e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "plain.csv", "same.parquet"]


def test_predict_ends_quietly_when_its_reader_has_seen_enough(finished: Path) -> None:
    command = f"hvd-train predict {finished / 'run'} --data {finished / 'songs.csv'} --out - | head -1"
    done = run(["bash", "-c", command], timeout_s=60)
    assert done.stdout == "expected,median,most_likely,probability,low_90,high_90\n"
    assert "Error" not in done.stderr


def test_what_cannot_be_read_leaves_nothing_in_the_pipe(finished: Path, tmp_path: Path) -> None:
    run_dir = finished / "run"
    done = run(["hvd-train", "predict", run_dir, "--data", tmp_path / "no.csv", "--out", "-"], timeout_s=60, ok=False)
    assert (done.code, done.stdout) == (2, "")
    command = f"printf '' | hvd-train predict {run_dir} --data - --out -"
    done = run(["bash", "-c", command], timeout_s=60, ok=False)
    assert (done.code, done.stdout, done.stderr) == (2, "", "error: the standard input: the file is empty.\n")


@pytest.mark.parametrize("name", ["predictions.csv", pytest.param("predictions.parquet", marks=pytest.mark.slow)])
def test_a_full_disk_is_said_once_and_nothing_stays(
    finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    write(tmp_path / "new.csv", [row[1:] for row in table(3000, seed=2)])
    with mounted_disk(tmp_path / "disk", "8k") as disk:
        out = disk / name
        assert main(["predict", str(finished / "run"), "--data", str(tmp_path / "new.csv"), "--out", str(out)]) == 2
        assert capfd.readouterr().err == f"error: {out}: No space left on device.\n"
        assert list(disk.iterdir()) == []


def test_predict_keeps_the_file_that_was_there_when_a_late_row_is_bad(
    finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are written as they come; a file takes its name at the end."""
    from hvd_train.data.sources import csv as csv_source

    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 1000)
    rows = [row[1:] for row in table(333, seed=2)]
    rows[300][2] = "many"
    write(tmp_path / "new.csv", rows)
    out = tmp_path / "predictions.csv"
    out.write_text("of yesterday")
    assert main(["predict", str(finished / "run"), "--data", str(tmp_path / "new.csv"), "--out", str(out)]) == 2
    assert "line 301" in capfd.readouterr().err
    assert out.read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "predictions.csv"]


def test_evaluate_of_something_that_is_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "not a finished run" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "rank"), [("evaluate", 1), ("predict", 0)])
def test_a_rank_that_freezes_while_rows_are_scored_or_predicted_is_named(
    finished: Path, tmp_path: Path, verb: str, rank: int
) -> None:
    failing = REPOSITORY / "tests" / "launch" / "failing.py"
    flags = ["--data", finished / "songs.csv", "--watchdog-s", "3"]
    flags += ["--out", tmp_path / "out.csv"] if verb == "predict" else []
    command = [sys.executable, failing, "freeze-reading", str(rank), verb, finished / "run", *flags]
    done = run(mpirun(2, *command), timeout_s=90, ok=False)
    assert done.code != 0
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"rank {rank} on host {HOST} (last heard: " in message
    assert ("out.csv was not written" in message) == (verb == "predict")
    assert not (tmp_path / "out.csv").exists()
