"""docs/performance.md and docs/results.md say what the results in benchmarks/results say: programs write them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def test_the_tables_of_the_performance_page_are_those_of_the_newest_results(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = program("performance_tables", monkeypatch)
    page = tables.PAGE.read_text()
    assert all(f"<!-- {name} -->" in page for name in tables.TABLES)
    assert tables.filled(page) == page, "run: python benchmarks/performance_tables.py"


def test_the_results_page_is_made_of_the_newest_results(monkeypatch: pytest.MonkeyPatch) -> None:
    results = program("results_page", monkeypatch)
    assert results.page() == results.PAGE.read_text(), "run: python benchmarks/results_page.py"
