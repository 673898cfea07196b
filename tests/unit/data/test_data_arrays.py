"""NumPy archives and Parquet files as people have them: names of arrays, layouts, one-hot labels, types of columns."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_helpers import all_rows, converted, new_rows, sections

from hvd_train.data import convert
from hvd_train.errors import DataError

NUM_ROWS = 60
X = np.random.default_rng(2).normal(size=(NUM_ROWS, 4))
Y = np.arange(NUM_ROWS) % 3


@pytest.mark.parametrize(
    "arrays",
    [
        {"arr_0": X, "arr_1": Y},
        {"arr_0": Y, "arr_1": X},
        {"X_train": X, "y_train": Y, "X_test": X[:9], "y_test": Y[:9]},
        {"Features": X, "LABEL": Y},
        {"data": X, "target": Y, "feature_names": np.array(list("abcd"))},
        {"x": np.asfortranarray(X), "y": np.asfortranarray(Y[:, None])},
        {"x": X.astype(">f8"), "y": Y.astype(">i4")},
        {"train_images": X, "train_labels": Y},
    ],
    ids=lambda arrays: " ".join(arrays),
)
def test_features_and_labels_by_their_names(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    told: list[str] = []
    convert(tmp_path / "t.npz", tmp_path / "out", *sections(), report=told.append)
    dataset = converted(tmp_path / "t.npz", tmp_path / "again")
    features, labels = all_rows(dataset)
    assert np.array_equal(features, X.astype(np.float32))
    assert np.array_equal(labels, Y)
    assert any("X_test, y_test" in line for line in told) == ("X_test" in arrays)


def test_an_archive_by_another_name_is_recognised(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    (tmp_path / "t.npz").rename(tmp_path / "arrays")
    assert np.array_equal(all_rows(converted(tmp_path / "arrays", tmp_path / "out"))[0], X.astype(np.float32))


@pytest.mark.parametrize("fortran", [False, True])
def test_three_axes_are_a_layout_of_positions_and_channels(fortran: bool, tmp_path: Path) -> None:
    x_NLC = np.random.default_rng(0).normal(size=(NUM_ROWS, 5, 3)).astype(np.float32)
    np.savez(tmp_path / "t.npz", x=np.asfortranarray(x_NLC) if fortran else x_NLC, y=Y)
    dataset = converted(tmp_path / "t.npz", tmp_path / "out")
    features, _ = all_rows(dataset)
    assert dataset.schema.layout == (5, 3)
    # As models.inputs reads columns: (N, F) -> (N, C, L) -> (N, L, C).
    assert np.array_equal(features.reshape(NUM_ROWS, 3, 5).transpose(0, 2, 1), x_NLC)
    features, labels = new_rows(tmp_path / "t.npz", dataset)
    assert np.array_equal(features.reshape(NUM_ROWS, 3, 5).transpose(0, 2, 1), x_NLC)
    np.savez(tmp_path / "new.npz", x=x_NLC[:7])
    features, labels = new_rows(tmp_path / "new.npz", dataset)
    assert (len(features), labels) == (7, None)
    np.savez(tmp_path / "new.npz", x=x_NLC.transpose(0, 2, 1), y=Y)
    with pytest.raises(DataError, match="3 positions x 5 channels, but the model was trained on 5 x 3"):
        new_rows(tmp_path / "new.npz", dataset)
    with pytest.raises(DataError, match="Give --layout for those that are left"):
        converted(tmp_path / "t.npz", tmp_path / "bad", drop=("2",))
    assert converted(tmp_path / "t.npz", tmp_path / "flat", layout="15x1").schema.layout == (15, 1)


def test_one_hot_labels_are_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=X, y=np.eye(3)[Y])
    dataset = converted(tmp_path / "t.npz", tmp_path / "out")
    assert (dataset.schema.label_kind, dataset.schema.label_values) == ("classes", ("0", "1", "2"))
    assert np.array_equal(all_rows(dataset)[1], Y)
    assert np.array_equal(new_rows(tmp_path / "t.npz", dataset)[1], Y)
    several = np.eye(3)[Y]
    several[11, 0] = 1
    several[11, 1] = 1
    np.savez(tmp_path / "t.npz", x=X, y=several)
    with pytest.raises(DataError, match=r"row 12: the 3 columns of the labels are not one-hot"):
        converted(tmp_path / "t.npz", tmp_path / "bad")


def test_labels_of_bytes(tmp_path: Path) -> None:
    names = np.array(["low", "mid", "müd"])[Y]
    np.savez(tmp_path / "t.npz", x=X, y=np.char.encode(names, "utf-8"))
    assert "müd" in converted(tmp_path / "t.npz", tmp_path / "out").schema.label_values
    np.savez(tmp_path / "t.npz", x=X, y=np.char.encode(names, "latin-1"))
    with pytest.raises(DataError, match=r"row 3, column 1: the label b'm\\xfcd' is not UTF-8"):
        converted(tmp_path / "t.npz", tmp_path / "bad")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"arr_0": X, "arr_1": Y, "arr_2": X, "arr_3": Y}, "which of arr_0, arr_1, arr_2, arr_3 are the features"),
        ({"x": X}, "there is no array of labels"),
        ({"images": X, "y": Y}, "there is no array of features: .* there are images, y"),
        ({"x": X.reshape(NUM_ROWS, 2, 2, 1), "y": Y}, r"x is \(60, 2, 2, 1\) of float64; features are numbers"),
        ({"x": X, "y": Y[:9]}, r"y is \(9,\) of int64"),
        ({"x": X, "y": np.zeros((NUM_ROWS, 3, 2))}, r"y is \(60, 3, 2\)"),
        ({"x": X.astype("M8[D]"), "y": Y}, "features are numbers"),
        ({"x": X + 1j, "y": Y}, "features are numbers"),
        ({"x": X[:, :0], "y": Y}, "features are numbers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_archives_that_are_refused(arrays: dict[str, np.ndarray], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=says):
        converted(tmp_path / "t.npz", tmp_path / "out")


def test_a_header_that_is_too_short_is_not_read(tmp_path: Path) -> None:
    num_rows = 3000  # a member that zipfile reads in more than one go
    x = np.random.default_rng(2).normal(size=(num_rows, 4))
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(num_rows) / 2)
    whole = (tmp_path / "t.npz").read_bytes()
    for at in (i for i in range(len(whole) - 10) if whole[i : i + 8] == b"\x93NUMPY\x01\x00"):
        for flipped in (1, 2, 4, 16, 64):
            damaged = bytearray(whole)
            damaged[at + 8] ^= flipped
            (tmp_path / "t.npz").write_bytes(damaged)
            with pytest.raises(DataError, match="damaged"):
                converted(tmp_path / "t.npz", tmp_path / "out")


def test_a_model_of_a_csv_reads_arrays_in_the_same_order(tmp_path: Path) -> None:
    table = pd.DataFrame(X, columns=list("abcd")).assign(label=Y)
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = converted(tmp_path / "t.csv", tmp_path / "out", label="label")
    np.savez(tmp_path / "new.npz", x=X, y=Y)
    features, labels = new_rows(tmp_path / "new.npz", dataset)
    assert np.array_equal(features, X.astype(np.float32))
    assert np.array_equal(labels, Y)


TIMES = pd.date_range("1969-12-31 06:00", periods=NUM_ROWS, freq="36h")
DAYS = np.arange(NUM_ROWS) * 1.5 - 0.75
COLUMNS: dict[str, tuple[Any, np.ndarray]] = {
    "decimal": (pa.array([decimal.Decimal(f"{i}.25") for i in range(NUM_ROWS)]), np.arange(NUM_ROWS) + 0.25),
    "wide decimal": (
        pa.array([decimal.Decimal(i) for i in range(NUM_ROWS)], pa.decimal256(50, 3)),
        np.arange(NUM_ROWS) + 0.0,
    ),
    "no value": (pa.nulls(NUM_ROWS), np.full(NUM_ROWS, np.nan)),
    "boolean": (pa.array([None, True, False] * 20), np.array([np.nan, 1, 0] * 20)),
    "date": (pa.array(TIMES.date, pa.date32()), np.floor(DAYS)),
    "date of 64 bits": (pa.array(TIMES.date, pa.date64()), np.floor(DAYS)),
    "nanoseconds": (pa.array(TIMES, pa.timestamp("ns")), DAYS),
    "seconds": (pa.array(TIMES, pa.timestamp("s")), DAYS),
    "time zone": (pa.array(TIMES.tz_localize("UTC").tz_convert("Asia/Tokyo")), DAYS),
    "dictionary": (pa.array([1.5, 2.5, None] * 20).dictionary_encode(), np.array([1.5, 2.5, np.nan] * 20)),
    "half": (pa.array(np.arange(NUM_ROWS).astype(np.float16)), np.arange(NUM_ROWS) + 0.0),
    "unsigned": (pa.array(np.arange(NUM_ROWS), pa.uint64()), np.arange(NUM_ROWS) + 0.0),
}


def test_parquet_columns_of_every_type_of_numbers(tmp_path: Path) -> None:
    table = {"y": Y} | {name: column for name, (column, _) in COLUMNS.items()}
    pa.parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    told: list[str] = []
    convert(tmp_path / "t.parquet", tmp_path / "out", *sections(label="y"), report=told.append)
    dataset = converted(tmp_path / "t.parquet", tmp_path / "again", label="y")
    expected = np.column_stack([values for _, values in COLUMNS.values()]).astype(np.float32)
    assert np.array_equal(all_rows(dataset)[0], expected, equal_nan=True)
    assert any("5 columns hold dates" in line for line in told)
    assert np.array_equal(new_rows(tmp_path / "t.parquet", dataset)[0], expected, equal_nan=True)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([[1.0, 2.0]] * NUM_ROWS), "list<.*Nested columns are not read"),
        (pa.array([{"a": 1}] * NUM_ROWS), "struct<.*Nested columns are not read"),
        (pa.array([1] * NUM_ROWS, pa.duration("s")), "duration.*not a number"),
        (pa.array([b"x"] * NUM_ROWS), "binary, not a number"),
    ],
    ids=["list", "struct", "duration", "bytes"],
)
def test_parquet_columns_that_are_refused(column: Any, says: str, tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"y": Y, "a": X[:, 0], "b": column}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf"column 3 \('b'\): its type is {says}"):
        converted(tmp_path / "t.parquet", tmp_path / "out", label="y")


def test_parquet_labels_that_are_no_labels(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"y": pa.array([[1]] * NUM_ROWS), "a": X[:, 0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column 1 \('y'\): its type is list.* one number or one text"):
        converted(tmp_path / "t.parquet", tmp_path / "out", label="y")
    pa.parquet.write_table(pa.table({"y": pa.array(TIMES), "a": X[:, 0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="this looks like an identifier or a date"):
        converted(tmp_path / "t.parquet", tmp_path / "out", label="y")
