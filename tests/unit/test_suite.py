"""The order of the tests: they mirror the package, a file of tests has one name, and small files stay small."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = TESTS.parent / "hvd_train"
# What is tested outside of the package.
OTHER = {"docs", "docker", "examples", "setup"}
LONGEST = 300


@pytest.mark.parametrize("kind", ["unit", "parallel", "launch"])
def test_tests_lie_in_folders_of_the_package(kind: str) -> None:
    folders = {path.parent.relative_to(TESTS / kind).as_posix() for path in (TESTS / kind).rglob("test_*.py")} - {"."}
    unknown = {folder for folder in folders if not (PACKAGE / folder).is_dir()} - OTHER
    assert not unknown, "no folder of the package has this name"


@pytest.mark.parametrize("kind", sorted(path.name for path in TESTS.iterdir() if path.is_dir()))
def test_a_file_of_tests_has_a_name_of_its_own(kind: str) -> None:
    """pytest imports test files by their base names, and one run of it takes all of a kind."""
    names = collections.Counter(path.name for path in (TESTS / kind).rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_files_are_small() -> None:
    long = {path.relative_to(TESTS) for path in TESTS.rglob("*.py") if len(path.read_text().splitlines()) > LONGEST}
    assert not long
