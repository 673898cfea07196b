"""A release: version, tag, changelog and classifiers agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hvd_train import __version__

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    found = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert found[0] == __version__


def test_the_classifiers_name_the_pythons_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    minors = re.findall(r"Python :: 3\.(\d+)\b", " ".join(project["classifiers"]))
    assert project["requires-python"] == f">=3.{minors[0]},<3.{int(minors[-1]) + 1}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the files that scripts/version.sh reads, and one commit."""
    for name in ("scripts/version.sh", "hvd_train/__init__.py", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.invalid", "commit", "-qm", "one")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, timeout=30)


def told(folder: Path) -> tuple[int, str]:
    done = subprocess.run([folder / "scripts" / "version.sh"], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


def test_a_tag_of_another_version_is_refused(checkout: Path) -> None:
    assert told(checkout) == (0, "")
    git(checkout, "tag", "v9.9.9")
    code, said = told(checkout)
    assert code == 1
    assert f"error: this commit is tagged v9.9.9, and hvd_train/__init__.py has the version {__version__}." in said
    git(checkout, "tag", f"v{__version__}")
    assert told(checkout) == (0, "")


def test_a_version_without_its_section_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    code, said = told(checkout)
    assert code == 1
    assert f"has no section of the version {__version__}" in said
