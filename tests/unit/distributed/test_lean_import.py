"""Packages that cannot be imported for the while of a block, and a collector that leaves alone what was imported there."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hvd_train.distributed.lean_import import lean_import, leaving_out


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


# Says which objects are looked at when the process ends: those of modules no more.
AT_THE_END = """
import atexit, gc
atexit.register(lambda: print(gc.isenabled(), len(gc.get_objects()) < 1000))
from hvd_train.distributed.lean_import import lean_import
with lean_import():
    print(gc.isenabled())
    import email.message
print(gc.isenabled(), len(gc.get_objects()) < 1000)
kept = [[] for _ in range(5000)]
"""


def test_no_garbage_is_looked_for_while_modules_are_imported_nor_among_them_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_END], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["False", "True True", "True True"]


@pytest.mark.usefixtures("collector")
def test_what_an_earlier_run_of_the_process_left_is_still_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
    gc.unfreeze()
    with lean_import():
        pass
    assert gc.get_freeze_count() == 0


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_a_collector_that_was_off_stays_off_and_a_failed_import_turns_it_on_again() -> None:
    gc.disable()
    with lean_import():
        pass
    assert not gc.isenabled()
    gc.enable()
    with pytest.raises(ModuleNotFoundError), lean_import():
        importlib.import_module("hvd_train.is_not_there")
    assert gc.isenabled()
