"""The results on real tables: what is not measured again is kept, and the page says when and where each was measured."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
VERSIONS = {"keras": "3.15.1", "tensorflow-cpu": "2.21.0", "python": "3.11.7"}
OLD = {"date": "2026-11-01", "machine": {"cores": 2, "cpu": "one"}, "versions": VERSIONS}
NEW = {"date": "2026-11-02", "machine": {"cores": 1, "cpu": "another"}, "versions": VERSIONS}


@pytest.fixture
def results_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("results_tables")
    monkeypatch.setattr(importlib.import_module("pages"), "RESULTS", tmp_path)
    return module


def row(ours: float, peer: float, **more: Any) -> dict[str, Any]:
    def figure(rmse: float) -> dict[str, Any]:
        return {"rmse": {"mean": rmse, "std": 0.0}, "seconds": 1.0}

    return {
        "splits": 3,
        "rows": 90,
        "ours": figure(ours),
        "baseline": figure(9.0),
        "peers": {"trees": figure(peer)},
    } | more


def test_tables_of_the_newest_file_are_kept_with_when_they_were_measured(
    results_tables: ModuleType, tmp_path: Path
) -> None:
    assert results_tables.before() == {}
    later = {"about": NEW, "peers_about": OLD}
    document = OLD | {"recipe": "table", "tables": {"a": row(1.0, 2.0), "b": row(2.0, 1.0, **later)}}
    (tmp_path / "tables_2026-11-02.json").write_text(json.dumps(document))
    kept = results_tables.before()
    assert (kept["a"]["about"], kept["a"]["peers_about"]) == (OLD, OLD)
    assert (kept["b"]["about"], kept["b"]["peers_about"]) == (NEW, OLD)


def test_peers_cannot_be_kept_of_other_splits(
    results_tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("target,split0,x\n")
    document = OLD | {"recipe": "table", "tables": {"a": row(1.0, 2.0)}}
    (tmp_path / "tables_2026-11-02.json").write_text(json.dumps(document))
    flags = ["--data", str(tmp_path), "--out", str(tmp_path), "--splits", "5", "--keep-peers"]
    monkeypatch.setattr(sys, "argv", ["results_tables.py", *flags])
    with pytest.raises(SystemExit):
        results_tables.main()
    assert "--keep-peers: the newest file has no peers of 5 splits of a" in capsys.readouterr().err


def test_the_page_has_the_mean_rank_and_one_line_for_each_machine(results_tables: ModuleType, tmp_path: Path) -> None:
    page = importlib.import_module("real_tables")
    document = OLD | {"recipe": "table", "tables": {"a": row(1.0, 2.0), "b": row(2.0, 1.0)}}
    (tmp_path / "tables_2026-11-02.json").write_text(json.dumps(document))
    text = page.tables()
    assert "| mean rank |  |  | **1.5** | 1.5 |  |" in text
    assert "\n*Measured 2026-11-01 on 2 cores (one)" in text

    document["tables"]["b"] |= {"about": NEW, "peers_about": OLD}
    (tmp_path / "tables_2026-11-02.json").write_text(json.dumps(document))
    text = page.tables()
    assert "*a, the peers on b: measured 2026-11-01 on 2 cores (one)" in text
    assert "*b: measured 2026-11-02 on 1 core (another)" in text
