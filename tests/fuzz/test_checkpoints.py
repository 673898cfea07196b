"""Damaged and forged checkpoints: refused by CheckpointError, or read back bit for bit."""

from __future__ import annotations

import copy
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fuzzing import change_document, damaged, flip_within, fuzz, require_clear

from hvd_train.errors import CheckpointError
from hvd_train.runs import TrainingState, checkpoint


@dataclass
class Variable:
    """What a Keras variable shows of itself here."""

    path: str
    value: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.value


RNG = np.random.default_rng(0)
VARIABLES = [
    Variable("model/conv/kernel", RNG.normal(size=(3, 1, 8)).astype(np.float32)),
    Variable("model/dense/kernel", RNG.normal(size=(24, 11)).astype(np.float32)),
    Variable("adam/iteration", np.array(7, np.int64)),
]
ROW = {"epoch": 1, "loss": 2.0, "val_loss": 1.5}
STATE = TrainingState(epoch=1, best_loss=1.5, best_epoch=1, history=[ROW])
ARRAYS = checkpoint.contents(VARIABLES, STATE, config="[data]\n", data_checksum="abc")


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


GOOD = packed(ARRAYS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.npz"


def read(path: Path, data: bytes) -> checkpoint.Checkpoint | None:
    path.write_bytes(data)
    try:
        return checkpoint.load(path)
    except CheckpointError as error:
        require_clear(error, path)
        return None


def is_equal(loaded: checkpoint.Checkpoint) -> bool:
    same = [a.dtype == b.value.dtype and a.tobytes() == b.value.tobytes() and a.shape == b.shape
            for a, b in zip(loaded.variables, VARIABLES, strict=True)]  # fmt: skip
    return all(same) and (loaded.state, loaded.config, loaded.data_checksum) == (STATE, "[data]\n", "abc")


def test_damaged_bytes(path: Path) -> None:
    headers = flip_within(GOOD, b"\x93NUMPY", reach=128)
    members = flip_within(GOOD, b"PK", reach=60)

    def check(data: bytes) -> str:
        loaded = read(path, data)
        assert loaded is None or is_equal(loaded), "read as something else than what was written"
        return "refused" if loaded is None else "read equal"

    fuzz("checkpoint-bytes", damaged(GOOD, headers, members), check, suffix=".npz")


def test_forged_notes(path: Path) -> None:
    """All checksums are right, and the note says something else: refused, or of the right types throughout."""
    note = json.loads(ARRAYS["note"].tobytes())

    def make(rng: random.Random) -> bytes:
        document: object = copy.deepcopy(note)
        for _ in range(rng.choice([1, 1, 2, 4])):
            document = change_document(rng, document)
        text = "[" * 100_000 if rng.random() < 0.01 else json.dumps(document)
        return packed({**ARRAYS, "note": np.frombuffer(text.encode(), np.uint8)})

    def check(data: bytes) -> str:
        loaded = read(path, data)
        if loaded is None:
            return "refused"
        assert isinstance(loaded.state.epoch, int)
        assert [v.shape for v in loaded.variables] == [v.shape for v in VARIABLES]
        assert all(isinstance(name, str) for name in [*loaded.names, loaded.config, loaded.data_checksum])
        return "read"

    fuzz("checkpoint-notes", make, check, suffix=".npz")


def test_forged_arrays(path: Path) -> None:
    """Arrays of other shapes, types and sizes, under right checksums: refused."""

    def make(rng: random.Random) -> bytes:
        arrays = dict(ARRAYS)
        name = rng.choice(list(arrays))
        shapes = [(0,), (1,), (3, 8), (24, 12), (8, 1, 3), ()]
        arrays[name] = np.zeros(rng.choice(shapes), rng.choice([np.float32, np.int64, np.uint8, np.float16, "U3"]))
        if rng.random() < 0.3:
            arrays[rng.choice(["v3", "v9", "x", "note2"])] = arrays.pop(name)
        return packed(arrays)

    def check(data: bytes) -> str:
        loaded = read(path, data)
        assert loaded is None or [v.shape for v in loaded.variables] == [v.shape for v in VARIABLES]
        return "refused" if loaded is None else "read"

    fuzz("checkpoint-arrays", make, check, suffix=".npz")
