"""The house rules of the package's files: few to a folder, none long, and at the top only what belongs to everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "hvd_train"
MAX_LINES = 300
MAX_FILES = 22
TOP = {"__init__.py", "__init__.pyi", "errors.py", "events.py", "py.typed"}


def test_no_file_is_long() -> None:
    root = PACKAGE.parent
    files = [file for folder in ("hvd_train", "scripts", "benchmarks") for file in (root / folder).rglob("*.py")]
    lines = {str(file.relative_to(root)): len(file.read_text().splitlines()) for file in files}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_folder_holds_many_files() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    counts = {folder.name: sum(path.is_file() for path in folder.iterdir()) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MAX_FILES} == {}


def test_the_top_level_holds_folders_and_what_all_of_them_need() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == TOP


def test_every_folder_has_a_face() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").read_text().startswith('"""')] == []


def test_no_link_is_committed() -> None:
    """A worktree may have a link to another's environment. Merged, it would replace that environment without a question."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=root, check=True, capture_output=True, text=True).stdout
    assert [line for line in listed.splitlines() if line.startswith("120000 ")] == []
