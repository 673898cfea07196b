"""The pages of docs/ with figures have those of benchmarks/results: programs write them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def test_the_tables_of_every_page_are_those_of_the_newest_results(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = program("performance_tables", monkeypatch)
    pages = [path.read_text() for path in tables.PAGES]
    assert all(any(f"<!-- {name} -->" in page for page in pages) for name in tables.TABLES)
    for page in pages:
        assert tables.filled(page) == page, "run: python benchmarks/performance_tables.py"


def test_the_results_page_is_made_of_the_newest_results(monkeypatch: pytest.MonkeyPatch) -> None:
    results = program("results_page", monkeypatch)
    assert results.page() == results.PAGE.read_text(), "run: python benchmarks/results_page.py"


def test_a_result_is_kept_beside_that_of_another_cpu_and_the_newest_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pages, records = program("pages", monkeypatch), program("records", monkeypatch)
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    with pytest.raises(pages.NotMeasured):
        pages.results("peers")
    old = {
        "date": "2026-11-26T23:00:00",
        "machine": "2 cores, Zeta family 9 model 1, Linux 6.18",
        "rows": {"a": 1, "b": 1},
    }
    new = {
        "about": {"date": "2026-11-27T01:00:00+00:00", "machine": "2 cores, Alpha(R) CPU, Linux 6.18"},
        "rows": {"a": 2},
    }
    for result in (old, new):
        records.save(tmp_path, "peers", result)
    assert [pages.cpu_of(one) for one in pages.results("peers")] == ["Alpha(R) CPU", "Zeta family 9 model 1"]
    assert pages.newest("peers", "Zeta family 9 model 1")["rows"] == {"a": 1, "b": 1}
    records.save(tmp_path, "peers", {**old, "rows": {"b": 3}}, again=["b"], tables=["rows"])
    assert pages.newest("peers", "Zeta family 9 model 1")["rows"] == {"a": 1, "b": 3}
    assert len(list(tmp_path.iterdir())) == 2
    records.save(tmp_path, "peers", {**old, "share": 2}, again=["a"], tables=["rows"], figures=["share", "other"])
    assert pages.newest("peers", "Zeta family 9 model 1")["share"] == 2


def test_no_row_always_has_the_same_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    records = program("records", monkeypatch)
    orders = [records.in_turn({"a": 1, "b": 2, "c": 3}, repeat) for repeat in range(3)]
    assert orders == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]
