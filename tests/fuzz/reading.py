"""What the fuzzers of tables share: a table read with small blocks, and compared with its values."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import damaged, require_clear

from hvd_train.data.schema import Columns
from hvd_train.data.sources import TableFormat, open_table, text_stream
from hvd_train.data.sources import csv as csv_source
from hvd_train.errors import DataError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 600)
    monkeypatch.setattr(csv_source, "MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(text_stream, "_BLOCK_BYTES", 64)


def with_note(rng: random.Random, expected: Any, text: bytes) -> bytes:
    """A file after a line of JSON with what it holds; damaged in half of the cases, where the line is null."""
    if rng.random() < 0.5:
        return json.dumps(expected).encode() + b"\n" + text
    return b"null\n" + damaged(text)(rng)


def read_noted(
    path: Path, data: bytes, options: dict[str, Any]
) -> tuple[tuple[np.ndarray, list[Any]] | None, Any, bytes]:
    """What `read` gives for the file of `with_note`, what is expected of it, and the file."""
    note, _, text = data.partition(b"\n")
    path.write_bytes(text)
    return read(path, options), json.loads(note), text


def read(path: Path, options: dict[str, Any], label: int | None = 0) -> tuple[np.ndarray, list[Any]] | None:
    """Features and labels of all rows; None where the table was refused."""
    try:
        table = open_table(path, TableFormat(**options))
        features = tuple(i for i in range(len(table.columns)) if i != label)
        if not features:
            return None
        chunks = list(table.chunks(Columns(table.columns, features, label)))
    except DataError as error:
        require_clear(error, path)
        return None
    labels = [x for chunk in chunks for x in (chunk.labels.tolist() if label is not None else ())]
    empty = np.empty((0, len(features)), np.float32)
    return np.concatenate([chunk.features for chunk in chunks] or [empty]), labels


def same(found: tuple[np.ndarray, list[Any]], values: list[list[float]], labels: list[Any] | None) -> None:
    with np.errstate(over="ignore"):
        expected = np.array(values, np.float64).astype(np.float32)
    assert found[0].shape == expected.shape, (found[0].shape, expected.shape)
    assert np.array_equal(found[0], expected, equal_nan=True), (found[0], expected)
    assert labels is None or found[1] == labels, (found[1], labels)
