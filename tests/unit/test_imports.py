"""What the import contracts in pyproject.toml cannot see: what is loaded when. `make lint` holds the contracts."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "hvd_train"
HEAVY = ("tensorflow", "keras", "horovod", "mpi4py")


def test_only_the_command_line_prints() -> None:
    for file in PACKAGE.rglob("*.py"):
        calls = [n.lineno for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)
                 and isinstance(n.func, ast.Name) and n.func.id == "print"]  # fmt: skip
        assert not calls or (PACKAGE / "cli") in file.parents, f"{file}:{calls}"


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
    assert time.monotonic() - started < 25  # no measurement: half a second where nothing else runs


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
