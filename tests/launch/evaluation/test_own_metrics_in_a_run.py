"""A metric from a file outside the package: trained with at np = 2, kept with the run, and the same at any np."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from processes import horovodrun, run

OWN = Path(__file__).parent / "own_metrics.py"
NAMES = ("near", "spread", "brier")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with three metrics of a user's own, and what it printed."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(OWN.read_text())
    flags = ["--recipe", "debug", "--num-songs", "1000", "--num-epochs", "2", "--run-dir", folder / "run"]
    # From another folder than the file's: the reference is kept as an absolute one.
    done = run(horovodrun(2, "hvd-train", "train", *flags, "--metrics", *(f"mine.py:{name}" for name in NAMES)), cwd=folder, timeout_s=150)  # fmt: skip
    return folder / "run", done.stdout


@pytest.mark.slow
def test_it_is_shown_and_written_beside_its_baseline(finished: tuple[Path, str]) -> None:
    run_dir, out = finished
    report = json.loads((run_dir / "report.json").read_text())
    for split in ("val", "test"):
        metrics, baselines = report["metrics"][split], report["baselines"][split]
        assert set(metrics) == set(baselines) == {"loss", "accuracy", "within_5", "mae", "rmse", *NAMES}
        assert metrics["near"] == metrics["within_5"]
        assert baselines["near"] == pytest.approx(baselines["within_5"])
        assert 0.5 * baselines["rmse"] < baselines["spread"] <= baselines["rmse"]
        assert 0 < metrics["spread"] <= metrics["rmse"]
        assert 0 < metrics["brier"] < 2
    rows = list(csv.DictReader((run_dir / "metrics.csv").read_text().splitlines()))
    assert [row["val_near"] for row in rows] == [row["val_within_5"] for row in rows]
    assert {"val_spread", "val_brier"} <= set(rows[0])
    for text in ("near enough", "spread of the errors", "Brier score", "  near ", "  brier "):
        assert text in out
    assert "near enough" in (run_dir / "log.txt").read_text()


@pytest.mark.slow
def test_evaluate_knows_it_and_its_figures_do_not_depend_on_the_number_of_ranks(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    run_dir, _ = finished
    report = json.loads((run_dir / "report.json").read_text())
    (run_dir.parent / "mine.py").unlink()  # the run has a copy
    command = ["hvd-train", "evaluate", str(run_dir), "--json"]
    alone = json.loads(run(command, cwd=tmp_path, timeout_s=60).stdout)
    assert alone["metrics"] == pytest.approx(report["metrics"]["test"], rel=1e-6)
    assert alone["baselines"] == pytest.approx(report["baselines"]["test"], rel=1e-12)
    without = json.loads(run([*command, "--metrics"], cwd=tmp_path, timeout_s=60).stdout)
    assert not set(NAMES) & set(without["metrics"])
    assert all(alone["metrics"][name] == figure for name, figure in without["metrics"].items())


def test_a_metric_that_fails_is_one_message_before_the_first_epoch(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "from hvd_train.evaluation import Metric\n"
        "bad = Metric(name='bad', title='bad', higher_is_better=True, row_terms=lambda rows: rows.nothing)\n"
    )
    command = ["hvd-train", "train", "--recipe", "debug", "--num-songs", "1000", "--metrics", "bad.py:bad", "--run-dir", "run"]  # fmt: skip
    done = run(horovodrun(2, *command), cwd=tmp_path, timeout_s=120, ok=False)
    assert done.code == 2
    assert done.output.count("error: ") == 1, str(done)
    assert "bad.py:bad': its row_terms failed: AttributeError" in done.output
    assert "Traceback" not in done.output
    assert "epoch" not in done.stdout
    assert not (tmp_path / "run" / "config.toml").exists()
