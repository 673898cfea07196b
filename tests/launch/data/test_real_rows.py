"""Real rows under horovodrun, as people will run it. The rows lie beside the checkout, not in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import horovodrun, run
from real_rows import REAL_ROWS, needs_real_rows

pytestmark = needs_real_rows


def trained(tmp_path: Path, *flags: str) -> dict:
    run(
        horovodrun(2, "hvd-train", "train", "--run-dir", tmp_path / "run", "--cache-dir", tmp_path / "cache", *flags),
        timeout_s=200,
    )
    return json.loads((tmp_path / "run" / "report.json").read_text())


@pytest.mark.slow
def test_songs_end_above_their_baselines(tmp_path: Path) -> None:
    """800 songs in the order of the file, the last 80 held out: errors in years are what so few rows can show."""
    report = trained(tmp_path, "--data", str(REAL_ROWS / "msd_head.csv"))
    assert report["size"] == 2
    assert sum(report["rows"].values()) == 800
    for name in ("mae", "rmse"):
        assert report["metrics"]["test"][name] < 0.95 * report["baselines"]["test"][name], name


@pytest.mark.slow
def test_leaves_end_above_their_baselines(tmp_path: Path) -> None:
    flags = ["--label", "species", "--drop", "id", "--layout", "64x3"]
    report = trained(tmp_path, "--data", str(REAL_ROWS / "leaf.csv"), *flags)
    assert sum(report["rows"].values()) == 792
    assert report["metrics"]["test"]["accuracy"] > 0.8
    assert report["metrics"]["test"]["loss"] < 0.5 * report["baselines"]["test"]["loss"]
    assert "every metric" in report["verdict"]
