"""npz and Parquet tables: made without a fault they are read right; damaged they are refused, or read right."""

from __future__ import annotations

import datetime
import decimal
import io
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from fuzzing import Make, damaged, fuzz
from reading import read, same, small_blocks  # noqa: F401  # a fixture of every test here
from tables import EPOCH


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
