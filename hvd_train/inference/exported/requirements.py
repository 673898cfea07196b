"""What an export needs: a finished run, a directory to write to, and the packages of its format. Needs no TensorFlow."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from hvd_train.errors import MissingEnvironment, UserError
from hvd_train.runs import RunDir

Format = Literal["savedmodel", "onnx", "litert"]
ONNX_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def require_exportable(run_dir: RunDir, kind: Format, out: Path) -> None:
    """UserError where `out` is occupied, there is no finished run, or packages of the format are missing.

    It needs a moment, so that nobody waits for TensorFlow to hear of it.
    """
    if not run_dir.path.is_dir():
        raise UserError(f"{run_dir.path}: there is no such directory. Name the directory of a finished run.")
    if not run_dir.model.is_file():
        raise UserError(
            f"{run_dir.path} has no model yet: there is no {run_dir.model.name}. Name the directory of a finished run. "
            f"An unfinished one is finished with `hvd-train train --resume {run_dir.path}`."
        )
    require_free(out)
    if kind == "onnx":
        require_onnx()


def require_free(out: Path) -> None:
    """UserError where something is at `out` that is not an empty directory."""
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise UserError(
            f"--out {out}: something is there already, and an export is never mixed with it. Name a new directory."
        )


def require_onnx() -> None:
    """MissingEnvironment where the packages of the extra [onnx] are not installed."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingEnvironment(
            f"--format onnx needs the packages {', '.join(ONNX_PACKAGES)}. Here {' and '.join(missing)} cannot be found. "
            "Install them: pip install 'hvd_train[onnx]', or in a checkout "
            "uv pip install --require-hashes -r requirements/onnx.txt"
        )
