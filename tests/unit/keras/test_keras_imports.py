"""hvd_train.keras stands on its own: it can be copied out of this package and still works."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "hvd_train" / "keras"
ALLOWED = {"horovod", "keras", "numpy", "tensorflow"}
STANDARD = {
    "__future__", "collections", "contextlib", "dataclasses", "functools", "gc", "hashlib", "inspect", "itertools",
    "json", "logging", "os", "pathlib", "re", "sys", "typing", "uuid", "warnings", "weakref", "zlib",
}  # fmt: skip


def imports_of(path: Path) -> set[str]:
    """Full names of the modules a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found.add(node.module or "")
            if node.module == "hvd_train":
                found |= {f"hvd_train.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_imports_nothing_else_of_hvd_train(path: Path) -> None:
    for module in imports_of(path):
        own = module == "hvd_train.keras" or module.startswith("hvd_train.keras.")
        assert own or module.split(".")[0] in ALLOWED | STANDARD, f"{path.name} imports {module}"


def test_files_are_short() -> None:
    assert {p.name: n for p in PACKAGE.glob("*.py") if (n := len(p.read_text().splitlines())) > 250} == {}


def test_no_variable_is_told_by_the_exported_class() -> None:
    """In Keras 3.6 the variables of layers and optimizers are no instances of keras.Variable."""
    for path in PACKAGE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
                assert "keras.Variable" not in ast.unparse(node.args[1]), f"{path.name}:{node.lineno}"
