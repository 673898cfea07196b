"""How a table was read travels with its dataset and its run, and new rows are read alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from data_helpers import all_rows, converted, frame, new_rows, write_lines, written
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.cli.table_flags import TableFlags
from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data import Dataset, TableFormat, convert, prepare, read_table_for_prediction
from hvd_train.data.sources.missing import MissingMarkers
from hvd_train.errors import ConfigError
from hvd_train.files.strict import Damaged


def names_of(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def test_each_way_of_reading_is_a_setting_and_a_flag() -> None:
    assert set(names_of(TableFormat)) <= set(names_of(TableConfig))
    assert names_of(TableFlags) == names_of(TableFormat)
    for field in dataclasses.fields(TableFormat):
        assert field.default == getattr(TableConfig(), field.name)
    assert TableFlags().given() == {}
    assert TableFlags(header="no", missing=("?",)).given() == {"header": "no", "missing": ("?",)}
    with pytest.raises(ConfigError, match="delimiter"):
        TableFlags(delimiter=";;")


def test_a_table_format_is_read_back_from_json_or_refused() -> None:
    whole = TableFormat(format="csv", missing=("?", "-999"), header="no", delimiter=";", index_base="0")
    assert TableFormat.from_json(whole.to_json() | {"missing": ["?", "-999"]}) == whole
    assert TableFormat.from_json({}) == TableFormat()
    for damaged in (
        {"header": "maybe"},
        {"delimiter": 1},
        {"missing": [1]},
        {"missing": "?"},
        {"later": "x"},
        {"later": None},
    ):
        with pytest.raises(Damaged, match="not known here"):
            TableFormat.from_json(damaged)


def test_what_was_found_out_is_kept_with_the_dataset(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.txt", index=False, sep=";", header=False)
    found = converted(tmp_path / "t.txt", tmp_path / "a", delimiter=";", missing=("?",)).table_format
    assert found == TableFormat(format="csv", header="auto", delimiter=";", missing=("?",))
    frame().to_parquet(tmp_path / "t.parquet")
    assert converted(tmp_path / "t.parquet", tmp_path / "b").table_format.format == "parquet"


def test_new_rows_are_read_as_the_rows_of_training_were(tmp_path: Path) -> None:
    rows = [f"{i % 2};{i};{'?' if i % 7 == 0 else i / 3:}" for i in range(40)]
    dataset = converted(write_lines(tmp_path / "t.txt", *rows), tmp_path / "out", delimiter=";", missing=("?",))
    features, labels = new_rows(write_lines(tmp_path / "p.txt", "1;2;?", "0;3;4"), dataset)
    assert np.array_equal(features, [[2, np.nan], [3, 4]], equal_nan=True)
    assert labels is not None
    assert labels.tolist() == [1, 0]
    features, _ = new_rows(write_lines(tmp_path / "p.txt", "1,2,none"), dataset, delimiter=",", missing=("none",))
    assert np.array_equal(features, [[2, np.nan]], equal_nan=True)


ODD = {
    "semicolons, decimal commas, dots by thousands, R's missing": (
        dict(delimiter=";", decimal=",", thousands=".", missing=("NA",)),
        "y;a;b",
        lambda i, last: f"{i % 2};{i}.000,5;{'NA' if i % 7 == 0 else last}",
    ),
    "latin-1 with tabs and comments": (
        dict(delimiter="tab", encoding="latin-1", comment="%"),
        "% written by \xe9\ny\tgr\xf6\xdfe\tb",
        lambda i, last: f"{i % 2}\t{i}\t{last}\n% {i}",
    ),
    "runs of blanks, no header, names for labels": (
        dict(delimiter="whitespace", header="no", label="-1", label_kind="classes"),
        "",
        lambda i, last: f"  {i}   {last} {'oak' if i % 2 else 'ash'}",
    ),
    "numbers for names, told to be a header": (
        dict(header="yes", label="1"),
        "7,7.5,3",
        lambda i, last: f"{i % 2},{i},{last}",
    ),
    "rows that look like a header, told to be none": (
        dict(header="no", label="1", missing=("x", "none")),
        "",
        lambda i, last: f"{i % 2},{'x' if i % 9 else i},{'none' if i % 5 else last}",
    ),
    "pipes, a label in the middle that some rows lack, columns left out": (
        dict(delimiter="|", label="kind", label_kind="classes", drop=("id",), missing=("?",), missing_labels="drop"),
        "id|a|kind|b",
        lambda i, last: f"{i}|{i / 2}|{'?' if i % 11 == 0 else 'ab'[i % 2]}|{last}",
    ),
    "LIBSVM that counts from 0": (
        dict(format="libsvm"),
        "",
        lambda i, last: f"{i % 2} {'0:1.5 ' if i == 0 else ''}1:{i} 2:{last}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_new_rows_in_the_odd_format_of_training_need_no_flag(kind: str, tmp_path: Path) -> None:
    """All of how a table is read travels with the run, so that the same rows are the same numbers and labels again."""
    options, header, row = ODD[kind]
    lines = [*([header] if header else []), *(row(i, str(i % 13)) for i in range(60))]
    encoding = options.get("encoding", "utf-8")
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n", encoding=encoding)
    dataset = converted(tmp_path / "t.txt", tmp_path / "out", num_virtual_shards=2, **options)
    # As data.json has it, which evaluate and predict read.
    assert TableFormat.from_json(json.loads(json.dumps(dataset.table_format.to_json()))) == dataset.table_format
    expected_features, expected_labels = all_rows(dataset)
    features, labels = new_rows(tmp_path / "t.txt", dataset)
    assert np.array_equal(features, expected_features, equal_nan=True)
    assert labels is not None
    assert np.array_equal(labels, expected_labels)
    (tmp_path / "few.txt").write_text("\n".join(lines[:5]) + "\n", encoding=encoding)
    some, _ = new_rows(tmp_path / "few.txt", dataset)
    assert np.array_equal(some, features[: len(some)], equal_nan=True)


@pytest.mark.parametrize("name", ["csv", "parquet", "npz", "svm"])
def test_a_number_that_stands_for_missing_does_in_each_format(name: str, tmp_path: Path) -> None:
    table = frame(60, 3).fillna(0.5)
    expected = table.iloc[:, 1:].to_numpy().astype(np.float32)
    table.loc[4:6, "f0"], table.loc[5, "f2"] = -999, 1e40
    expected[4:7, 0] = expected[5, 2] = np.nan
    dataset = converted(written(table, tmp_path, name), tmp_path / "out", missing=("-9.99e2", "1e40", "none"))
    assert np.array_equal(all_rows(dataset)[0], expected, equal_nan=True)


@pytest.mark.parametrize("cell", ["-999", "-999.0", "-999.00", "-9.99e2", " -999", "-0999", "+7", "?", " ? "])
def test_a_number_that_stands_for_missing_does_however_it_is_written(cell: str, tmp_path: Path) -> None:
    rows = [f"{i % 2},{i},{i / 3}" for i in range(40)]
    rows[7] = f"1,{cell},2"
    dataset = converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", missing=("-999", "7.0", "?"))
    assert np.isnan(all_rows(dataset)[0][7, 0])


def test_in_columns_of_32_bit_floats_the_nearest_number_stands_for_missing(tmp_path: Path) -> None:
    table = frame(60, 3).fillna(0.5).astype({"f0": np.float32, "f1": np.float32, "f2": np.float32})
    table.loc[4, "f0"] = np.float32(-9999.9)
    for name in ("parquet", "npz"):
        dataset = converted(written(table, tmp_path, name), tmp_path / name, missing=("-9999.9",))
        assert np.isnan(all_rows(dataset)[0][4, 0]), name


@given(st.lists(st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 7]), min_size=1), st.integers(0, 4))
def test_integers_that_stand_for_missing_are_not_taken_for_their_neighbours(values: list[int], which: int) -> None:
    marker = [2**53, 2**53 + 1, -(2**63), 2**63 - 1, 7][which]
    mask = MissingMarkers((str(marker),)).mask(np.array(values, np.int64))
    assert mask.tolist() == [value == marker for value in values]


@pytest.mark.parametrize(
    ("name", "options", "idle"),
    [
        ("parquet", {"header": "no", "missing": ("7",), "missing_labels": "drop"}, "--header"),
        ("npz", {"delimiter": ";", "index_base": "1"}, "--delimiter, --index-base"),
        ("svm", {"comment": "%", "index_base": "1"}, "--comment"),
        ("csv", {"index_base": "1", "header": "yes"}, "--index-base"),
        ("csv", {"header": "yes", "missing": ("7",)}, ""),
    ],
)
def test_flags_that_say_nothing_about_a_format_are_told(
    name: str, options: dict[str, object], idle: str, tmp_path: Path
) -> None:
    path = written(frame(60, 3).fillna(0.5), tmp_path, name)
    told: list[str] = []
    config = TableConfig(**options)  # type: ignore[arg-type]
    dataset = Dataset.open(convert(path, tmp_path / "out", config, SplitConfig(), report=told.append))
    expected = [f"without effect on a table in the format {dataset.table_format.format}: {idle}"] if idle else []
    assert [line for line in told if "without effect" in line] == expected
    list(read_table_for_prediction(path, dataset.schema, TableFormat(), given=options, report=told.append))
    assert [line for line in told if "without effect" in line] == 2 * expected
    assert (
        prepare(dataclasses.replace(config, path=dataset.directory), SplitConfig(), report=told.append)
        == dataset.directory
    )
    assert any("was converted before, so these flags have no effect: --" in line for line in told)


def test_the_delimiter_that_a_table_says_itself_is_kept(tmp_path: Path) -> None:
    rows = [f"{i % 2};{i};{i / 3}" for i in range(40)]
    dataset = converted(write_lines(tmp_path / "t.csv", "sep=;", "y;a;b", *rows), tmp_path / "out")
    assert dataset.table_format.delimiter == ";"
    assert new_rows(write_lines(tmp_path / "p.csv", "y;a;b", "1;2;3"), dataset)[0].tolist() == [[2, 3]]
