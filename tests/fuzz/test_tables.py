"""Tables of every format: made without a fault they are read right; damaged they are refused, or read right."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fuzzing import BYTES, Make, damaged, fuzz, require_clear
from tables import EPOCH, Case, has_special_beginning, make_case, reference

from hvd_train.data.schema import Columns
from hvd_train.data.sources import TableFormat, open_table, text_stream
from hvd_train.data.sources import csv as csv_source
from hvd_train.errors import DataError

PIECES = ("", ",", ";", "\n", "\r\n", '"', '""', " ", "\t", "-", "+", ".", "e", "1e999", "nan", "x", "0", "1_0", "#", "%",
          "true", "2020-01-01", "\ufeff", "é", "\0", "1.234,5", "/", "sep=;", "'", "\u00a0", "\u0661", "9" * 400)  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 600)
    monkeypatch.setattr(csv_source, "MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(text_stream, "_BLOCK_BYTES", 64)


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


def test_text_tables_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"

    def check(data: bytes) -> str:
        case = Case.of(data)
        path.write_bytes(case.text)
        values, labels = case.values, case.labels
        assert values is not None
        if (found := read(path, case.options)) is None:
            assert not _is_certain(case), "refused"
            return "refused"
        same(found, values, labels)
        return "right"

    fuzz("text", lambda rng: make_case(rng).to_bytes(), check, suffix=".txt")


def _is_certain(case: Case) -> bool:
    """Whether a table has enough rows to be told from one with the wrong delimiter or with names of rows."""
    return case.values is not None and reference(case) is not None


def mangled(rng: random.Random) -> bytes:
    case = make_case(rng)
    encoding = "utf-8" if case.options["encoding"] == "auto" else case.options["encoding"]
    text = case.text
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.2:
            data = bytearray(text)
            rng.choice(BYTES)(rng, data)
            text = bytes(data)
        else:
            at = rng.randint(0, len(text))
            piece = rng.choice(PIECES).encode(encoding, "replace")
            text = text[:at] + piece + text[at + rng.randint(0, 2) :]
    return Case(case.options, text).to_bytes()


def test_mangled_text_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"

    def check(data: bytes) -> str:
        case = Case.of(data)
        path.write_bytes(case.text)
        found, expected = read(path, case.options), reference(case)
        if found is None:
            return "refused" if expected is None else "refused, not by the reference"
        if expected is None or len(expected[0]) != len(found[0]):
            assert has_special_beginning(case), "read although there is a fault"
            return "special"
        assert (
            [_plain(x) for x in found[1]] == [_plain(x) for x in expected[0]]
            or case.options["decimal"] != "."
            or case.options["thousands"]
        )
        same(found, expected[1], None)
        return "right"

    fuzz("mangled", mangled, check, suffix=".txt")


def _plain(label: str) -> str:
    return label.replace("\ufeff", "").strip()


def make_libsvm(rng: random.Random) -> tuple[bytes, list[list[float]], list[float]]:
    base, num_features = rng.choice([0, 1]), rng.randint(1, 6)
    lines, values, labels = [], [], []
    for row in range(rng.choice([1, 3, 40])):
        label = rng.choice([0, 1, -1, 2.5, 1e-3])
        cells = [rng.gauss(0, 10) if rng.random() < 0.6 else 0.0 for _ in range(num_features)]
        if row == 0:
            cells[0] = cells[-1] = 1.5  # all columns are seen, and the base
        pairs = [f"{i + base}:{cell!r}" for i, cell in enumerate(cells) if cell]
        rng.shuffle(pairs)
        comment = rng.choice(["", "", " # c", " #1:2"])
        lines.append(rng.choice([" ", "\t", "  "]).join([repr(label), *pairs]) + comment)
        values.append(cells)
        labels.append(float(label))
    text = "\n".join(lines) + rng.choice(["", "\n", "\r\n", "\n\n# end\n"])
    return text.encode(), values, labels


def test_libsvm_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.svm"

    def make(rng: random.Random) -> bytes:
        text, values, labels = make_libsvm(rng)
        if rng.random() < 0.5:
            return json.dumps([values, labels]).encode() + b"\n" + text
        return b"null\n" + damaged(text)(rng)

    def check(data: bytes) -> str:
        note, _, text = data.partition(b"\n")
        path.write_bytes(text)
        found, expected = read(path, {"format": "libsvm"}), json.loads(note)
        if expected is not None:
            assert found is not None
            same(found, *expected)
            return "right"
        if found is None:
            return "refused"
        _same_sparse(found, text.decode("utf-8-sig"))
        return "right although damaged"

    fuzz("libsvm", make, check, suffix=".svm")


def _same_sparse(found: tuple[np.ndarray, list[Any]], text: str) -> None:
    rows = [line.split("#")[0].split() for line in re.split(r"\r\n|\r|\n", text)]
    rows = [row for row in rows if row]
    assert len(rows) == len(found[0])
    pairs = [[pair.split(":") for pair in row[1:] if not pair.startswith("qid:")] for row in rows]
    first = min([1, *(int(index) for row in pairs for index, _ in row)])
    for row, values in zip(pairs, found[0], strict=True):
        expected = np.zeros(len(values), np.float32)
        for index, value in row:
            expected[int(index) - first] = float(value)
        assert np.array_equal(values, expected, equal_nan=True)


def make_npz(rng: random.Random) -> tuple[bytes, np.ndarray, list[Any]]:
    num_rows, shape = rng.choice([1, 4, 50]), rng.choice([(3,), (1,), (2, 3), (4, 1)])
    numbers = np.random.default_rng(rng.randrange(2**32))
    kind = rng.choice(["<f8", ">f8", "<f4", "<f2", "<i8", ">i2", "u1", "?"])
    x = (numbers.normal(size=(num_rows, *shape)) * 100).astype(kind)
    labels = rng.choice(
        [np.arange(num_rows), np.arange(num_rows) / 4, np.array([f"k{i % 3}é" for i in range(num_rows)])]
    )
    y = labels
    if labels.dtype.kind == "i" and rng.random() < 0.4:
        labels = labels % 3
        y = np.eye(3, dtype=rng.choice(["f4", "i8", "?"]))[labels]
    elif labels.dtype.kind == "U" and rng.random() < 0.5:
        y = np.char.encode(labels, "utf-8")
    names = rng.choice([("x", "y"), ("features", "labels"), ("arr_0", "arr_1"), ("X_train", "y_train")])
    arrays = {names[0]: np.asfortranarray(x) if rng.random() < 0.3 else x, names[1]: y}
    if rng.random() < 0.2:
        arrays["more"] = np.arange(3)
    buffer = io.BytesIO()
    rng.choice([np.savez, np.savez_compressed])(buffer, **arrays)
    flat = x.reshape(num_rows, -1) if x.ndim == 2 else np.concatenate([x[:, :, c] for c in range(shape[1])], axis=1)
    return buffer.getvalue(), flat, labels.tolist()


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    seeds: list[random.Random] = []

    def make(rng: random.Random) -> bytes:
        seed = rng.randrange(2**32).to_bytes(4, "big")
        good = make_npz(random.Random(seed))[0]
        return seed + (good if rng.random() < 0.3 else damaged(good)(rng))

    def check(data: bytes) -> str:
        good, features, labels = make_npz(random.Random(data[:4]))
        path.write_bytes(data[4:])
        found = read(path, {"format": "npz"})
        if found is None:
            assert data[4:] != good, "refused"
            return "refused"
        same(found, features.astype(float).tolist(), labels)
        return "right"

    assert not seeds
    fuzz("npz", make, check, suffix=".npz")


def make_parquet(rng: random.Random) -> tuple[bytes, list[list[float]], list[Any]]:
    num_rows = rng.choice([1, 5, 60])
    columns: dict[str, Any] = {"y": pa.array([f"k{i % 3}" for i in range(num_rows)])}
    values = []
    for name in "abcd"[: rng.randint(1, 4)]:
        kind, cells = rng.choice(list(_PARQUET_KINDS.items()))
        drawn = [None if rng.random() < 0.1 else cells(rng) for _ in range(num_rows)]
        array = pa.array(drawn, kind)
        if rng.random() < 0.2 and not pa.types.is_null(kind):
            array = array.dictionary_encode()
        columns[name] = array
        values.append([_as_number(cell) for cell in drawn])
    buffer = io.BytesIO()
    pa.parquet.write_table(
        pa.table(columns),
        buffer,
        row_group_size=rng.choice([3, 1000]),
        compression=rng.choice(["none", "snappy", "zstd"]),
        use_dictionary=rng.random() < 0.5,
        data_page_version=rng.choice(["1.0", "2.0"]),
        write_page_checksum=True,
    )
    return buffer.getvalue(), [list(row) for row in zip(*values, strict=True)], columns["y"].to_pylist()


_PARQUET_KINDS: dict[Any, Any] = {
    pa.float64(): lambda rng: rng.gauss(0, 100),
    pa.float32(): lambda rng: float(np.float32(rng.gauss(0, 1))),
    pa.int8(): lambda rng: rng.randint(-128, 127),
    pa.uint64(): lambda rng: rng.randrange(2**40),
    pa.bool_(): lambda rng: rng.random() < 0.5,
    pa.decimal128(12, 3): lambda rng: decimal.Decimal(rng.randint(-(10**9), 10**9)) / 1000,
    pa.date32(): lambda rng: datetime.date(1970, 1, 1) + datetime.timedelta(days=rng.randint(-9999, 20_000)),
    pa.timestamp("us"): lambda rng: EPOCH + datetime.timedelta(seconds=rng.randint(-(10**9), 10**9)),
    pa.timestamp("ms", "UTC"): lambda rng: EPOCH + datetime.timedelta(seconds=rng.randint(-(10**9), 10**9)),
    pa.null(): lambda rng: None,
}


def _as_number(cell: Any) -> float:
    if cell is None:
        return math.nan
    if isinstance(cell, datetime.datetime):
        return (cell - EPOCH) / datetime.timedelta(days=1)
    return float((cell - datetime.date(1970, 1, 1)).days) if isinstance(cell, datetime.date) else float(cell)


def test_parquet_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"

    def make(rng: random.Random) -> bytes:
        seed = rng.randrange(2**32).to_bytes(4, "big")
        good = make_parquet(random.Random(seed))[0]
        return seed + (good if rng.random() < 0.3 else _damaged_pages(good)(rng))

    def check(data: bytes) -> str:
        good, values, labels = make_parquet(random.Random(data[:4]))
        path.write_bytes(data[4:])
        found = read(path, {"format": "parquet"})
        if data[4:] == good:
            assert found is not None
            same(found, values, labels)
            return "right"
        return "refused" if found is None else "read although damaged"  # headers and footer carry no checksum

    fuzz("parquet", make, check, suffix=".parquet")


def _damaged_pages(good: bytes) -> Make:
    return damaged(good)


def test_damaged_numbers_of_a_parquet_page_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    numbers = np.random.default_rng(0).normal(size=500)
    table = pa.table({"y": numbers, "a": numbers})
    pa.parquet.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    good = path.read_bytes()
    first, last = good.index(numbers[0].tobytes()), good.rindex(numbers[-1].tobytes())

    def make(rng: random.Random) -> bytes:
        data, at = bytearray(good), rng.randrange(first, last)
        data[at] ^= 1 << rng.randrange(8)
        return bytes(data)

    def check(data: bytes) -> str:
        path.write_bytes(data)
        found = read(path, {"format": "parquet"})
        if found is not None:
            same(found, numbers[:, None].tolist(), numbers.tolist())
        return "refused" if found is None else "right"

    fuzz("parquet-pages", make, check, suffix=".parquet")
