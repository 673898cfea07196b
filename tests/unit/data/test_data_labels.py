"""Labels mean the same whatever the format, to training and to evaluating; missing ones are never an output."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_helpers import all_rows, converted, frame, new_rows, sections, write_lines, written
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_train.config import SPLITS
from hvd_train.data import Dataset, convert
from hvd_train.errors import DataError

FORMATS = ("csv", "parquet", "npz", "svm")
CELLS = frame(60, 3).fillna(0.5).iloc[:, 1:]


def labelled(labels: Any) -> pd.DataFrame:
    table = CELLS.iloc[: len(labels)].copy()
    table.insert(0, "column_1", labels)
    return table.set_axis([f"column_{i + 1}" for i in range(4)], axis=1)


def label_texts(dataset: Dataset) -> list[str]:
    codes = all_rows(dataset)[1]
    return [str(dataset.schema.label_values[code]) for code in codes]


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A table with missing cells and labels, and options that read it."""
    size = draw(st.integers(30, 60))
    kind, values = draw(
        st.sampled_from(
            [
                ("auto", [0, 1, 7]),
                ("auto", [1990, 1994, 2003]),
                ("auto", [-1.5, 0.25, 1e-3, 7.0]),
                ("classes", [1000001, 2000002, -3]),
                ("classes", [2**53, 2**53 + 1, 2**53 + 2]),
                ("integers", [3, 4, 1000000]),
                ("values", [1, 2, 3]),
            ]
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    labels = pd.Series(np.array(values)[np.arange(size) % len(values)])
    if draw(st.booleans()):
        marker = draw(st.sampled_from([-999, 77]))
        labels[rng.random(size) < 0.2] = marker
    table = labelled(labels.to_numpy())
    for column in table.columns[1:]:
        table.loc[rng.random(size) < 0.1, column] = -999.0
    return table, {"label_kind": kind, "missing": ("77.0", "-999"), "missing_labels": "drop", "num_virtual_shards": 2}


@given(tables())
@settings(max_examples=settings().max_examples // 5)
def test_a_table_is_the_same_data_in_each_format(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[pd.DataFrame, dict[str, Any]]
) -> None:
    table, options = drawn
    tmp_path = tmp_path_factory.mktemp("formats")
    found = {name: converted(written(table, tmp_path, name), tmp_path / name, **options) for name in FORMATS}
    features, labels = all_rows(found["csv"])
    present = ~table["column_1"].isin([77, -999]).to_numpy()
    expected = table.iloc[:, 1:].replace(-999.0, math.nan).to_numpy().astype(np.float32)
    assert np.array_equal(features, expected[present], equal_nan=True)
    assert found["csv"].metadata["num_unlabelled"] == (~present).sum()
    assert {dataset.checksum for dataset in found.values()} == {found["csv"].checksum}
    for trained in found.values():
        for name in FORMATS:
            new_features, new_labels = new_rows(tmp_path / f"t.{name}", trained)
            assert np.array_equal(new_features, features, equal_nan=True)
            assert np.array_equal(new_labels, labels), name
            assert len(new_rows(tmp_path / f"t.{name}", trained, with_labels=False)[0]) == len(table)


def without_labels(tmp_path: Path, name: str) -> Path:
    """60 rows with classes, of which rows 7 and 8 have none, as the format says that."""
    labels = [f"{'abc'[i % 3]}" for i in range(60)]
    if name == "csv":
        labels[7], labels[8] = "", " "
        return write_lines(tmp_path / "t.csv", "grade,x", *(f"{label},{i}.5" for i, label in enumerate(labels)))
    if name == "marker":
        labels[7], labels[8] = "NA", " ?"
        return write_lines(tmp_path / "t.csv", "grade,x", *(f"{label},{i}.5" for i, label in enumerate(labels)))
    numbers: list[int | None] = [5 + i % 3 for i in range(60)]
    numbers[7] = numbers[8] = None
    features = np.arange(60) + 0.5
    path = tmp_path / f"t.{name.partition(' ')[0]}"
    if name == "npz":
        np.savez(path, X=features[:, None], y=np.array(numbers, float))
    elif name == "parquet text":
        texts = [None if i in (7, 8) else label for i, label in enumerate(labels)]
        pyarrow.parquet.write_table(pa.table({"grade": texts, "x": features}), path)
    elif name == "parquet nan":
        pyarrow.parquet.write_table(pa.table({"grade": np.array(numbers, float), "x": features}), path)
    else:
        large = [None if n is None else n + (2**60 if name == "parquet large" else 0) for n in numbers]
        pyarrow.parquet.write_table(pa.table({"grade": pa.array(large, pa.int64()), "x": features}), path)
    return path


@pytest.mark.parametrize(
    "name", ["csv", "marker", "npz", "parquet text", "parquet nan", "parquet null", "parquet large"]
)
@pytest.mark.parametrize("kind", ["auto", "classes"])
def test_a_missing_label_is_an_error_or_left_out_and_never_an_output(name: str, kind: str, tmp_path: Path) -> None:
    if (name, kind) == ("parquet large", "auto"):
        kind = "classes"
    path = without_labels(tmp_path, name)
    options = {"label_kind": kind, "missing": ("NA", "?")}
    with pytest.raises(DataError, match=r"(line 9|row 8|line 8), .*the label is missing.*--missing-labels drop"):
        converted(path, tmp_path / "refused", **options)
    told: list[str] = []
    config = sections(**options, missing_labels="drop")  # type: ignore[arg-type]
    dataset = Dataset.open(convert(path, tmp_path / "out", *config, report=told.append))
    assert len(dataset.schema.label_values) == 3
    assert "rows without a label, left out: 2" in told
    parts = [dataset.load(split, range(dataset.num_virtual_shards)) for split in SPLITS]
    ids = np.concatenate([part.row_ids for part in parts])
    assert sorted(ids) == [i for i in range(60) if i not in (7, 8)]
    assert np.array_equal(np.concatenate([part.features for part in parts])[:, 0], ids + np.float32(0.5))
    assert len(new_rows(path, dataset)[0]) == 58
    assert len(new_rows(path, dataset, with_labels=False)[0]) == 60
    with pytest.raises(DataError, match="the label is missing"):
        new_rows(path, dataset, missing_labels="error")


def test_a_table_without_any_label_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "grade,x", *(f",{i}" for i in range(40)))
    with pytest.raises(DataError, match=r"no row has a label in column 1 \('grade'\)"):
        converted(path, tmp_path / "out", missing_labels="drop")


def test_a_bad_label_after_rows_without_one_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [f"{i % 2},{i}" for i in range(40)]
    rows[3], rows[20] = ",3", "x,20"
    with pytest.raises(DataError, match=r"line 21, column 1: the label 'x' stands where a number should be"):
        converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", missing_labels="drop")


@pytest.mark.parametrize("name", FORMATS)
def test_integers_that_floats_cannot_tell_apart_are_never_merged(name: str, tmp_path: Path) -> None:
    values = [2**53, 2**53 + 1, 2**53 + 3]
    table = labelled([values[i % 3] for i in range(60)])
    path = written(table, tmp_path, name)
    with pytest.raises(DataError, match="from 2\\*\\*53 on.*--label-kind classes"):
        converted(path, tmp_path / "refused")
    dataset = converted(path, tmp_path / "out", label_kind="classes")
    assert label_texts(dataset) == table["column_1"].astype(str).tolist()


@pytest.mark.parametrize("name", FORMATS)
def test_codes_of_many_digits_are_the_same_to_evaluating_as_to_training(name: str, tmp_path: Path) -> None:
    path = written(labelled([1000001 + 1000001 * (i % 2) for i in range(60)]), tmp_path, name)
    dataset = converted(path, tmp_path / "out", label_kind="classes")
    assert dataset.schema.label_values == ("1000001", "2000002")
    assert np.array_equal(new_rows(path, dataset)[1], all_rows(dataset)[1])


def test_a_class_that_is_a_number_is_found_however_it_is_written(tmp_path: Path) -> None:
    rows = [f"{('1', '2', '05')[i % 3]},{i}" for i in range(60)]
    dataset = converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", label_kind="classes")
    values = dataset.schema.label_values
    _, labels = new_rows(write_lines(tmp_path / "p.csv", "1.0,3", " 2 ,3", "05,4"), dataset)
    assert labels is not None
    assert [values[code] for code in labels] == ["1", "2", "05"]
    with pytest.raises(DataError, match="the label '5' is none of the model's 3 outputs"):
        new_rows(write_lines(tmp_path / "p.csv", "5,3"), dataset)


def test_booleans_as_classes_are_found_in_each_format(tmp_path: Path) -> None:
    table = labelled(["True", "False"] * 30).astype({"column_1": object})
    written(table, tmp_path, "csv")
    written(table.assign(column_1=table["column_1"] == "True"), tmp_path, "parquet")
    for trained in ("csv", "parquet"):
        dataset = converted(tmp_path / f"t.{trained}", tmp_path / trained, label_kind="classes")
        for name in ("csv", "parquet"):
            _, labels = new_rows(tmp_path / f"t.{name}", dataset)
            assert np.array_equal(labels, all_rows(dataset)[1]), (trained, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_fractions_as_classes_have_the_digits_of_their_type(dtype: type, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=np.arange(60.0)[:, None], y=np.array([0.1, 0.2, 3], dtype)[np.arange(60) % 3])
    dataset = converted(tmp_path / "t.npz", tmp_path / "out", label_kind="classes")
    assert dataset.schema.label_values == ("0.1", "0.2", "3")


def test_spaces_around_names_do_not_belong_to_them(tmp_path: Path) -> None:
    rows = [
        f"{i}.5{' ' * (i % 2)},{('', ' ', '  ')[i % 3]}{('<=50K', '>50K')[i % 2]}{' ' * (i % 4)}" for i in range(60)
    ]
    dataset = converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", label="2")
    assert dataset.schema.label_values == ("<=50K", ">50K")
    assert np.array_equal(all_rows(dataset)[1], np.arange(60) % 2)
    _, labels = new_rows(write_lines(tmp_path / "p.csv", "1,>50K", "1, >50K "), dataset)
    assert labels is not None
    assert labels.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_rows_without_a_group_are_groups_of_their_own(name: str, tmp_path: Path) -> None:
    table = frame(300, 2)
    table["patient"] = [f" p{i % 7} "[: 2 + i % 3] if i % 3 else None for i in range(300)]
    path = tmp_path / f"t.{name}"
    table.to_csv(path, index=False) if name == "csv" else table.to_parquet(path)
    told: list[str] = []
    config = sections(label="year", split="group:patient", missing=("p5",))
    dataset = Dataset.open(convert(path, tmp_path / "out", *config, report=told.append))
    names = table["patient"].str.strip().replace({"p": None, "p5": None})
    assert f"rows with an empty cell in the column of --split, each a group of its own: {names.isna().sum()}" in told
    splits = [names[dataset.load(split, range(dataset.num_virtual_shards)).row_ids] for split in SPLITS]
    assert all(part.isna().any() for part in splits)
    known = [set(part.dropna()) for part in splits]
    assert sum(map(len, known)) == len(set().union(*known)) == 6


def test_a_row_that_says_no_split_is_an_error(tmp_path: Path) -> None:
    rows = [f"{i % 2},{i},{('train', 'test', 'val')[i % 3] if i != 5 else ''}" for i in range(60)]
    path = write_lines(tmp_path / "t.csv", "y,x,part", *rows)
    with pytest.raises(DataError, match=r"line 7, column 3 \('part'\): the cell is empty"):
        converted(path, tmp_path / "out", split="column:part")


def test_a_class_whose_name_says_missing_is_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "grade,x", *(f"{('a', 'b', 'NA')[i % 3]},{i}" for i in range(60)))
    told: list[str] = []
    convert(path, tmp_path / "out", *sections(), report=told.append)
    assert "a class is called 'NA': if it stands for a missing label, say so by --missing NA" in told
