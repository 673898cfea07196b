"""The arrows of import: --help without TensorFlow, data and launch without it for good, Horovod in two places alone."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "hvd_train"
HEAVY = ("tensorflow", "keras", "horovod", "mpi4py")


def imported_modules(file: Path) -> set[str]:
    """Every module that a file imports anywhere in it, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(file: Path, *packages: str) -> list[str]:
    return sorted(m for m in imported_modules(file) if m.split(".")[0] in packages)


def test_horovod_is_imported_in_one_engine_and_keras_alone() -> None:
    users = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if uses(file, "horovod")}
    assert {user for user in users if not user.startswith("keras/")} == {"distributed/horovod.py"}


@pytest.mark.parametrize("folder", ["data", "config", "files", "text", "processes", "watchdog", "hostfiles", "doctor"])
def test_these_folders_know_neither_tensorflow_nor_horovod(folder: str) -> None:
    for file in (PACKAGE / folder).rglob("*.py"):
        assert not uses(file, *HEAVY), file


@pytest.mark.parametrize(
    "module",
    [
        "evaluation/metrics",
        "training/batch_sizes",
        "distributed/settings",
        "distributed/ranks",
        "runs/directory",
        "runs/checkpoint",
    ],
)
def test_arithmetic_needs_no_tensorflow(module: str) -> None:
    assert not uses(PACKAGE / f"{module}.py", *HEAVY)


def test_only_the_command_line_prints() -> None:
    for file in PACKAGE.rglob("*.py"):
        calls = [n.lineno for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)
                 and isinstance(n.func, ast.Name) and n.func.id == "print"]  # fmt: skip
        assert not calls or file.parent.name == "cli", f"{file}:{calls}"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_answers_without_tensorflow(arguments: list[str]) -> None:
    program = (
        "import sys, hvd_train.cli.verbs as cli\n"
        f"try:\n    code = cli.main({arguments!r})\nexcept SystemExit as e:\n    code = e.code\n"
        f"assert not code, code\nloaded = [m for m in {HEAVY!r} if m in sys.modules]\nassert not loaded, loaded"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "usage: hvd-train" in done.stdout or arguments == ["--version"]
    assert time.monotonic() - started < 10  # no measurement: half a second where nothing else runs


@pytest.mark.parametrize("arguments", [["train"], ["ensemble", "--run-dir", "r"], ["evaluate", "r"]])
def test_settings_come_before_numpy_whose_threads_would_poll_on_the_ranks_core(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom hvd_train import cli\nfrom hvd_train.distributed import settings\n"
        "def apply(chosen):\n    raise SystemExit(3 if 'numpy' in sys.modules else 0)\n"
        f"settings.apply = apply\nsys.exit(cli.main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_an_ensemble_says_where_it_goes() -> None:
    program = "import sys\nfrom hvd_train import cli\nsys.exit(cli.main(['ensemble', '--recipe', 'debug']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--run-dir" in done.stdout + done.stderr
