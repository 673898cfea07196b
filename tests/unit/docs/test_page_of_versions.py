"""The table of versions in docs/how-to/install.md is that of the results."""

from __future__ import annotations

import importlib.util
import sys

import docs_pages


def test_the_table_is_that_of_the_results() -> None:
    path = docs_pages.REPOSITORY / "benchmarks" / "versions.py"
    spec = importlib.util.spec_from_file_location("versions", path)
    assert spec is not None
    assert spec.loader is not None
    versions = importlib.util.module_from_spec(spec)
    sys.modules["versions"] = versions  # dataclasses look their module up
    spec.loader.exec_module(versions)
    table = versions.table(docs_pages.REPOSITORY / "benchmarks" / "results")
    assert table.count("\n") > 1
    assert f"<!-- versions: begin -->\n{table}\n<!-- versions: end -->" in versions.PAGE.read_text()
