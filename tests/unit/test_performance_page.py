"""docs/performance.md says what the results in benchmarks/results say: its tables are written by a program."""

from __future__ import annotations

import importlib.util
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_tables_are_those_of_the_newest_results() -> None:
    path = REPOSITORY / "benchmarks" / "performance_tables.py"
    spec = importlib.util.spec_from_file_location("performance_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text()
    assert all(f"<!-- {name} -->" in page for name in module.TABLES)
    assert module.filled(page) == page, "run: python benchmarks/performance_tables.py"
