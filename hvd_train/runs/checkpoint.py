"""Checkpoints: one file each, written atomically by the root alone.

A checkpoint is an uncompressed .npz (no pickles) with the variables of the model (its random generators' too) and of the
optimizer in order, and a JSON text: the TrainingState, the RunConfig and the checksum of the data.
It is written to a temporary name, synced, and renamed, so a crash at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.errors import CheckpointError
from hvd_train.files import strict, strict_arrays, write_atomically
from hvd_train.runs.training_state import TrainingState

FORMAT = 2  # 1 had no random generators
WAY_OUT = "Resume from a copy, or start a new run."
WAY_OUT_OF_ANOTHER = "End the run with the version of hvd_train that began it, or start a new run."
# Keras numbers the random generators of a process, also those of other models.
_NUMBERED_GENERATOR = re.compile(r"\bseed_generator_\d+/")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory. `variables` are in the order in which they were saved."""

    path: Path
    variables: list[np.ndarray]
    names: list[str]
    state: TrainingState
    config: str
    data_checksum: str


class Writer:
    """Writes checkpoints while training continues: training waits for a copy of the variables, not for the disk.

    One thread writes in the order of the saves. Each save, and `finish`, first waits for the previous one. So there is
    never more than one copy, and an error of the previous write (a full disk) is raised there. Root only.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hvd_train checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self, paths: list[Path], variables: list[Any], state: TrainingState, *, config: str, data_checksum: str
    ) -> None:
        """Write the same checkpoint to each of `paths`. Returns as soon as the variables are copied."""
        self.finish()
        arrays = contents(variables, state, config=config, data_checksum=data_checksum)

        def write() -> None:
            for path in paths:
                write_arrays(path, arrays)

        self._pending = self._pool.submit(write)

    def finish(self) -> None:
        """Wait until everything is on disk. Raises the error of the write, if there was one."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the last save, whatever ends the block. Its error does not replace the exception that ends the block."""
        try:
            self.finish()
        except OSError:
            if kind is None:
                raise
        finally:
            self._pool.shutdown()


def save(path: Path, variables: list[Any], state: TrainingState, *, config: str, data_checksum: str) -> None:
    """Write a complete checkpoint to `path`, replacing an older one. Root only."""
    write_arrays(path, contents(variables, state, config=config, data_checksum=data_checksum))


def contents(variables: list[Any], state: TrainingState, *, config: str, data_checksum: str) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by their names in the file. They are copies, which no later step changes."""
    note = {
        "format": FORMAT,
        "progress": vars(state),
        "config": config,
        "data_checksum": data_checksum,
        "names": [describe(v) for v in variables],
    }
    # A copy: on CPUs an array of a variable can be the variable's own memory.
    arrays = {f"v{i}": np.asarray(v).copy() for i, v in enumerate(variables)}
    arrays["note"] = np.frombuffer(json.dumps(note).encode(), dtype=np.uint8)
    return arrays


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz to `path` atomically."""
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def describe(variable: Any) -> str:
    """Name and shape of a Keras variable, without the counters that Keras appends from one process to the next."""
    path = _NUMBERED_GENERATOR.sub("seed_generator/", variable.path)
    return f"{path.split('/', 1)[-1]} {tuple(variable.shape)}"


@dataclass(frozen=True)
class Note:
    """The JSON text of a checkpoint, beside its format. The names of the fields are the keys in the file."""

    progress: TrainingState
    config: str
    data_checksum: str
    names: list[str]
    """Of `describe`, an array each."""


def load(path: Path) -> Checkpoint:
    """Read a complete checkpoint, or CheckpointError. A damaged one is never returned."""
    try:
        arrays = strict_arrays.read_npz(path)
        document = json.loads(arrays.pop("note").tobytes())
        version = strict.read(int, document.pop("format"), "format")
        note = None if version != FORMAT else _checked(document, arrays)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: there is no checkpoint. A run has one after its first epoch; start without --resume."
        ) from None
    except PermissionError as error:
        raise CheckpointError(f"{path}: it cannot be read ({error.strerror}).") from None
    except Exception as error:
        raise CheckpointError(strict.damage(path, error, WAY_OUT)) from None
    if note is None:
        raise CheckpointError(
            f"{path}: written in format {version}, this version reads format {FORMAT}. {WAY_OUT_OF_ANOTHER}"
        )
    variables = [arrays[f"v{i}"] for i in range(len(note.names))]
    return Checkpoint(path, variables, note.names, note.progress, note.config, note.data_checksum)


def position(path: Path) -> tuple[int, int] | None:
    """The complete epochs of a checkpoint and the steps after them, read without its arrays. None where there is none to read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            progress = strict.loads(arrays["note"].tobytes())["progress"]
        return int(progress["epoch"]), int(progress["step"])
    except Exception:
        return None


def _checked(document: Any, arrays: dict[str, np.ndarray]) -> Note:
    """The note. Raises Damaged unless the arrays are those that it names."""
    # A figure of the history may be infinite; the note's CRC protects it.
    note: Note = strict.read(Note, document, "note", finite=False)
    if sorted(arrays) != sorted(f"v{i}" for i in range(len(note.names))):
        raise strict.Damaged(f"it holds {len(arrays)} arrays, not those of its {len(note.names)} names")
    for index, name in enumerate(note.names):
        shape = arrays[f"v{index}"].shape
        if not name.endswith(f" {shape}"):
            raise strict.Damaged(f"{name} has the shape {shape}")
    if min(note.progress.epoch, note.progress.step) < 0:
        raise strict.Damaged("its epoch or step is negative")
    return note


def restore(checkpoint: Checkpoint, variables: list[Any]) -> None:
    """Assign the values of the checkpoint to these Keras variables, or CheckpointError naming the first that differs."""
    names = [describe(v) for v in variables]
    if names != checkpoint.names:
        pairs = zip([*names, "nothing"], [*checkpoint.names, "nothing"], strict=False)
        here, there = next((a, b) for a, b in pairs if a != b)
        raise CheckpointError(
            f"{checkpoint.path} belongs to another model: it holds {there}, this run has {here}. "
            f"Resume with the run's own config.toml, or start a new run."
        )
    for variable, value in zip(variables, checkpoint.variables, strict=True):
        here_dtype = np.asarray(variable).dtype
        if value.dtype != here_dtype:
            raise CheckpointError(
                f"{checkpoint.path} belongs to another model: {describe(variable)} is {value.dtype} there, and "
                f"{here_dtype} in this run. Resume with the run's own config.toml, or start a new run."
            )
    for variable, value in zip(variables, checkpoint.variables, strict=True):
        variable.assign(value)
