"""Text tables as people have them: read as the plain table is, or refused with what is meant."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, new_rows, sections, write_lines

from hvd_train.data import convert
from hvd_train.data.sources import TableFormat
from hvd_train.data.sources import csv as csv_source
from hvd_train.data.sources.beginning import read_beginning
from hvd_train.data.sources.cells import Notation, value_of
from hvd_train.data.sources.text_stream import open_text
from hvd_train.errors import DataError

NUM_ROWS = 60


def plain() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    numbers = np.round(rng.normal(size=(NUM_ROWS, 3)) * (1, 1000, 1e6), 3)
    table = pd.DataFrame(numbers, columns=["a", "b", "c"])
    table.insert(0, "grade", [("low", "müd", "top")[i % 3] for i in range(NUM_ROWS)])
    return table


def grouped(value: float, decimal: str, thousands: str) -> str:
    return f"{value:,.3f}".replace(",", "t").replace(".", decimal).replace("t", thousands)


def decimal_comma(table: pd.DataFrame, thousands: str = "") -> str:
    rows = [";".join([row[0], *(grouped(v, ",", thousands) for v in row[1:])]) for row in table.itertuples(index=False)]
    return "\n".join([";".join(table.columns), *rows, ""])


def with_comments(table: pd.DataFrame) -> str:
    lines = table.to_csv(index=False).splitlines()
    return "\n".join(["# made by a logger", " # unit: K", *lines[:20], "#,,,", *lines[20:], "# end"])


def as_r_writes(table: pd.DataFrame) -> str:
    lines = table.to_csv(index=False, sep=" ", quoting=2).splitlines()
    return "\n".join([lines[0], *(f'"row{i}" {line}' for i, line in enumerate(lines[1:], 1)), ""])


def fixed_width(table: pd.DataFrame) -> str:
    return table.to_string(index=False) + "\n"


def savetxt(table: pd.DataFrame) -> str:
    return "# " + table.to_csv(index=False, sep=" ")


FORMS: dict[str, tuple[Callable[[pd.DataFrame], str], str, dict[str, str]]] = {
    "latin-1": (lambda t: t.to_csv(index=False), "latin-1", {"encoding": "latin-1"}),
    "cp1252": (lambda t: t.to_csv(index=False, lineterminator="\r\n"), "cp1252", {"encoding": "windows-1252"}),
    "UTF-16 by its mark": (lambda t: t.to_csv(index=False), "utf-16", {}),
    "UTF-32 by its mark": (lambda t: t.to_csv(index=False), "utf-32", {}),
    "UTF-16 as told": (lambda t: t.to_csv(index=False), "utf-16-be", {"encoding": "utf-16-be"}),
    "a mark against what is told": (lambda t: t.to_csv(index=False), "utf-8-sig", {"encoding": "latin-1"}),
    "decimal comma": (decimal_comma, "utf-8", {"delimiter": ";", "decimal": ","}),
    "decimal comma in UTF-16": (decimal_comma, "utf-16", {"delimiter": ";", "decimal": ","}),
    "points as thousands": (lambda t: decimal_comma(t, "."), "utf-8", {"delimiter": ";", "decimal": ",", "thousands": "."}),
    "spaces as thousands": (lambda t: decimal_comma(t, " "), "utf-8", {"delimiter": ";", "decimal": ",", "thousands": " "}),
    "Excel's sep line": (lambda t: "sep=;\r\n" + t.to_csv(index=False, sep=";", lineterminator="\r\n"), "utf-8", {}),
    "Excel's sep line in UTF-16": (lambda t: "sep=\t\n" + t.to_csv(index=False, sep="\t"), "utf-16", {}),
    "comments": (with_comments, "utf-8", {"comment": "#"}),
    "comments with carriage returns": (lambda t: with_comments(t).replace("\n", "\r"), "utf-8", {"comment": "#"}),
    "names of rows by R": (as_r_writes, "utf-8", {"delimiter": " "}),
    "numbers of rows by R": (lambda t: as_r_writes(t).replace('"row', '"'), "utf-8", {"delimiter": " "}),
    "savetxt": (savetxt, "utf-8", {"delimiter": " "}),
    "savetxt with comments": (lambda t: "# by me\n" + savetxt(t), "utf-8", {"delimiter": " ", "comment": "#"}),
    "fixed width": (fixed_width, "utf-8", {"delimiter": "whitespace"}),
    "fixed width by a space": (fixed_width, "latin-1", {"delimiter": " ", "encoding": "latin-1"}),
    "tabs by name": (lambda t: t.to_csv(index=False, sep="\t"), "utf-8", {"delimiter": "\\t"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_table_in_another_form_is_the_same_table(name: str, tmp_path: Path) -> None:
    write, encoding, options = FORMS[name]
    path, table = tmp_path / "t.txt", plain()
    path.write_bytes(write(table).encode(encoding))
    dataset = converted(path, tmp_path / "out", **options)
    features, labels = all_rows(dataset)
    assert dataset.schema.feature_names == ("a", "b", "c")
    assert np.array_equal(features, table[["a", "b", "c"]].to_numpy().astype(np.float32))
    assert [dataset.schema.label_values[k] for k in labels] == table["grade"].tolist()
    # New rows are read as these were, without a flag.
    path.write_bytes(write(table.iloc[7:]).encode(encoding))
    features, labels = new_rows(path, dataset)
    assert np.array_equal(features, table[["a", "b", "c"]].to_numpy().astype(np.float32)[7:])
    assert labels is not None
    assert [dataset.schema.label_values[k] for k in labels] == table["grade"].tolist()[7:]


def test_a_plain_table_is_read_as_it_stands_in_the_file(tmp_path: Path) -> None:
    """No reader of ours stands between the file and pyarrow's, which is where the speed comes from."""
    path, table = tmp_path / "t.csv", plain()
    table.to_csv(path, index=False)
    form = read_beginning(path, TableFormat(), Notation()).form
    assert form.is_plain
    with open_text(path, form) as file:
        assert file.stream is file.raw
    for name, (write, encoding, options) in FORMS.items():
        path.write_bytes(write(table).encode(encoding))
        found = read_beginning(path, TableFormat(**options), Notation())
        plain_too = name in ("a mark against what is told", "tabs by name", "decimal comma", "points as thousands")
        assert found.form.is_plain == (plain_too or name == "spaces as thousands"), name


@pytest.mark.parametrize("block_bytes", [300, 4 << 20])
def test_line_numbers_are_those_of_the_file(block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(csv_source, "MIN_BLOCK_ROWS", 1)
    lines = with_comments(plain()).splitlines()
    lines[30] = lines[30] + "x"
    path = write_lines(tmp_path / "t.csv", *lines)
    with pytest.raises(DataError, match=r"line 31, column 4 \('c'\)"):
        converted(path, tmp_path / "out", comment="#")


def columns_of_many_kinds() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    start = datetime.datetime(1969, 12, 30)
    days = np.sort(rng.integers(0, 20_000 * 24, NUM_ROWS)) / 24
    table = pd.DataFrame(
        {
            "y": np.arange(NUM_ROWS) / 7,
            "flag": [("True", "False")[i % 2] for i in range(NUM_ROWS)],
            "said": [("yes", "no", "")[i % 3] for i in range(NUM_ROWS)],
            "share": [f"{i}.5%" for i in range(NUM_ROWS)],
            "day": [(start + datetime.timedelta(days=int(d))).date().isoformat() for d in days],
            "time": [(start + datetime.timedelta(days=d)).isoformat(" ") for d in days],
        }
    )
    table.loc[0, ["flag", "share", "day"]] = ""
    values = np.column_stack(
        [
            np.arange(NUM_ROWS) % 2 == 0,
            np.array([1, 0, np.nan])[np.arange(NUM_ROWS) % 3],
            (np.arange(NUM_ROWS) + 0.5) / 100,
            np.floor(days) - 2,
            days - 2,
        ]
    ).astype(float)
    values[0, [0, 2, 3]] = np.nan
    return table, values.astype(np.float32)


@pytest.mark.parametrize("change", ["as it is", "for the careful reader"])
def test_booleans_percentages_and_dates_are_numbers(change: str, tmp_path: Path) -> None:
    table, values = columns_of_many_kinds()
    if change == "for the careful reader":  # which is asked where the fast one refuses a cell
        table.loc[50, "time"] = table.loc[50, "time"] + "Z"
    table.to_csv(tmp_path / "t.csv", index=False)
    told: list[str] = []
    convert(tmp_path / "t.csv", tmp_path / "out", *sections(), report=told.append)
    dataset = converted(tmp_path / "t.csv", tmp_path / "again")
    np.testing.assert_allclose(all_rows(dataset)[0], values, rtol=1e-7)
    assert dataset.schema.feature_kinds == ("boolean", "boolean", "percent", "date", "date")
    assert any("'flag'" in line and "'said'" in line and "1" in line for line in told)
    assert any("'day'" in line and "1970-01-01" in line for line in told)
    table.to_csv(tmp_path / "t.csv", index=False, header=False)
    headless = converted(tmp_path / "t.csv", tmp_path / "headless")
    assert sum(headless.num_rows(split) for split in ("train", "val", "test")) == NUM_ROWS


def test_dates_where_numbers_were_are_not_predicted(tmp_path: Path) -> None:
    table, _ = columns_of_many_kinds()
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = converted(tmp_path / "t.csv", tmp_path / "out")
    table["day"] = 12345.0
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"column 5 \('day'\): the cells are numbers, but .* they were dates"):
        new_rows(tmp_path / "t.csv", dataset)
    table["day"], table["flag"] = "", 1.0
    table.to_csv(tmp_path / "t.csv", index=False)
    assert np.isnan(new_rows(tmp_path / "t.csv", dataset)[0][:, 3]).all()


@pytest.mark.parametrize("late", [False, True])
def test_a_column_holds_one_kind_of_cells(late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 200)
    monkeypatch.setattr(csv_source, "MIN_BLOCK_ROWS", 1)
    first = 150 if late else 2  # beyond what is looked at before the rows are read
    rows = ["a,b", *(f"{i}.5," for i in range(first)), "3.5,true", *(f"{i}.5,no" for i in range(60))]
    dataset = converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out")
    assert dataset.schema.feature_kinds == ("boolean",)
    assert all_rows(dataset)[0][first:, 0].tolist() == [1, *[0] * 60]
    rows[-3] = "1.5,0"
    with pytest.raises(DataError, match=f"line {len(rows) - 2}, .*'0' stands in a column of booleans"):
        converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "bad")
    rows = ["a,b", *(f"{i}.5,2" for i in range(first)), "3.5,true"]
    with pytest.raises(DataError, match="'true' stands where a number should be.*write a column alike"):
        converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "bad")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("-0,8019", "Give --decimal ,."),
        ("1,234.5", "Give --thousands ,."),
        ("1.234,5", "Give --decimal , --thousands .."),
        ("'1.5'", "Single quotes do not quote a cell"),
        ("NA", "Give --missing NA."),
        ("31.12.2020", "YYYY-MM-DD"),
        ("12/31/2020", "YYYY-MM-DD"),
    ],
)
def test_what_is_probably_meant_is_said(cell: str, says: str, tmp_path: Path) -> None:
    rows = ["y;a", *(f"{i / 7};{cell}" for i in range(30))]
    with pytest.raises(DataError) as caught:
        converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", delimiter=";")
    assert f"line 2, column 2 ('a'): {cell!r} stands where" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("1.5", {"decimal": ","}),
        ("1,5", {"thousands": ","}),
        ("12,3456", {"thousands": ","}),
        ("1.23", {"decimal": ",", "thousands": "."}),
        ("1 2", {"thousands": " "}),
    ],
)
def test_another_notation_is_never_guessed(cell: str, options: dict[str, str], tmp_path: Path) -> None:
    for row in (f"1;{cell}", f"{cell};1"):
        rows = ["y;a", *(f"{i};{i}" for i in range(30)), row]
        with pytest.raises(DataError, match=rf"line 32, column {2 - row.startswith(cell)}"):
            converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", delimiter=";", **options)


def test_labels_are_written_in_the_same_notation(tmp_path: Path) -> None:
    rows = ["y;a", *(f"1.{i:03d},25;{i}" for i in range(30))]
    path = write_lines(tmp_path / "t.csv", *rows)
    dataset = converted(path, tmp_path / "out", delimiter=";", decimal=",", thousands=".")
    assert all_rows(dataset)[1].tolist() == [1000.25 + i for i in range(30)]
    assert new_rows(path, dataset)[1] is not None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["# made by a logger", "y,a,b"], "line 1 is '# made by a logger', but rows after it have 3 columns.* --comment '#'"),
        (["|1x3 Cross validator"], "line 1 is .* but rows after it have 3 columns. Is that a comment"),
        (["A table of mine", "y,a,b"], "line 1 is 'A table of mine', but .* If it is no row, remove it"),
        (["y,a,b", *["1,2,3"] * 9, "# a pause"], "line 11: 1 columns, but the header has 3.* --comment '#'"),
        (["y,a,b", *["1,2,3,"] * 9], "line 2: 4 columns, but the header has 3. Each row may end with a delimiter"),
        (["y  a b", *["1  2 3"] * 9], "one column only. Is the delimiter ' '. Give it by --delimiter whitespace"),
    ],
)  # fmt: skip
def test_lines_that_are_no_rows(lines: list[str], says: str, tmp_path: Path) -> None:
    rows = [f"{i},2,3" for i in range(30)] if len(lines) < 3 else []
    with pytest.raises(DataError, match=says):
        converted(write_lines(tmp_path / "t.csv", *lines, *rows), tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("2024-02-29 06:30", "2024-02-29T06:30:00"),
        ("2024-02-29T06:30:15.5", "2024-02-29T06:30:15.500000"),
        ("2024-02-29T06:30:15.250001Z", "2024-02-29T06:30:15.250001"),
        ("2024-02-29T06:30Z", "2024-02-29T06:30:00"),
        ("2024-02-29T06:30-0130", "2024-02-29T08:00:00"),
        ("2024-02-29T06:30:15+01:30", "2024-02-29T05:00:15"),
    ],
)
def test_a_time_is_read_alike_by_every_python(text: str, time: str) -> None:
    """Python 3.10 reads fewer forms than those after it."""
    expected = pd.Timestamp(time).value / pd.Timedelta(days=1).value
    assert value_of(text, "date", Notation()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["2023-02-29", "2024-02-29Z", "2024-02-29+01:00", "2024-02-29T24:00", "2024-02-29T06:30.5"]
)
def test_what_is_no_time(text: str) -> None:
    assert value_of(text, "date", Notation()) is None
