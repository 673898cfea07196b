"""Packages that cannot be imported for the while of a block."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from hvd_train.distributed.lean_import import leaving_out


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "hvd_train_left_out"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("here = True\n")
    (tmp_path / name / "part.py").write_text("here = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in (name, f"{name}.part"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return name


def test_what_is_left_out_seems_not_installed_and_comes_back(package: str) -> None:
    finders = list(sys.meta_path)
    with leaving_out(package):
        for module in (package, f"{package}.part"):
            with pytest.raises(ModuleNotFoundError, match="while Keras is imported"):
                importlib.import_module(module)
    assert sys.meta_path == finders
    assert importlib.import_module(f"{package}.part").here


def test_what_is_there_already_stays_whole(package: str) -> None:
    importlib.import_module(package)
    with leaving_out(package):
        assert importlib.import_module(f"{package}.part").here


def test_nothing_is_left_out_by_default(package: str) -> None:
    with leaving_out():
        assert importlib.import_module(package).here
