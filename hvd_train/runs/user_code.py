"""The files of a user's own network, layers, losses and metrics: a run directory keeps a copy of each.

So a finished run is evaluated with the code that it was trained with, also after the file was changed, and an
interrupted one goes on where the file is gone. What a file imports is not copied. Whoever opens such a run executes
its code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from hvd_train.config import file_of, stand_in
from hvd_train.files import write_atomically
from hvd_train.runs.directory import RunDir


def keep(references: Iterable[str], run_dir: RunDir) -> None:
    """Copy the files that `references` name into the run directory. Root only.

    A reference to a module, or a name that is no reference, has no file to copy.
    """
    for path, copy in _copies(references, run_dir).items():
        if path.is_file():
            copy.parent.mkdir(exist_ok=True)
            content = path.read_bytes()
            write_atomically(copy, lambda file, content=content: file.write(content))  # type: ignore[misc]


def use_kept(references: Iterable[str], run_dir: RunDir, *, as_trained: bool) -> list[Path]:
    """Load the run's copies where files of `references` are gone, or with `as_trained` where they were changed.

    Every rank for itself, before the references are resolved. Returns the files that copies stand in for.
    """
    replaced = []
    for path, copy in _copies(references, run_dir).items():
        if copy.is_file() and (not path.is_file() or (as_trained and path.read_bytes() != copy.read_bytes())):
            stand_in(path, copy)
            replaced.append(path)
    return replaced


def _copies(references: Iterable[str], run_dir: RunDir) -> dict[Path, Path]:
    """The path of each file, and of its copy: files of one name in two folders do not meet."""
    paths = {path for path in map(file_of, references) if path is not None}
    return {
        path: run_dir.code / f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.py" for path in paths
    }
