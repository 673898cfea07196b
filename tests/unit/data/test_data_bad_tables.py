"""Tables that are wrong somewhere: an error that names line and column, or the right data; never anything else."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from data_helpers import all_rows, converted, frame, write_lines

from hvd_train.data import TableFormat, read_table_for_prediction
from hvd_train.data.sources import careful
from hvd_train.data.sources import csv as csv_source
from hvd_train.errors import DataError

GOOD = frame(60, 3).fillna(0.5).to_csv(index=False).splitlines()


def refused(path: Path, tmp_path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        converted(path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def with_cell(tmp_path: Path, line: int, column: int, cell: str) -> Path:
    rows = [row.split(",") for row in GOOD]
    rows[line - 1][column - 1] = cell
    return write_lines(tmp_path / "t.csv", *(",".join(row) for row in rows))


@pytest.mark.parametrize(
    "cell", ["abc", "nan", "NaN", "inf", "-inf", "1e999", "-1e999", "1e39", "1_000", "0x10", "1,", "NULL", "\u0661"]
)
@pytest.mark.parametrize("line", [2, 37, 61])
def test_a_bad_cell_is_named_by_line_and_column(cell: str, line: int, tmp_path: Path) -> None:
    message = refused(with_cell(tmp_path, line, 3, cell), tmp_path)
    assert f"{tmp_path / 't.csv'}, line {line}" in message
    assert "column" in message
    if cell != "1,":
        assert "column 3 ('f1')" in message


@pytest.mark.parametrize("cell", ["", "abc", "nan", "inf", "1e999"])
def test_a_bad_label_is_named_by_line_and_column(cell: str, tmp_path: Path) -> None:
    message = refused(with_cell(tmp_path, 20, 1, cell), tmp_path)
    assert "line 20, column 1 ('year')" in message


def test_the_fast_reader_hands_over_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 700)
    monkeypatch.setattr(csv_source, "MIN_BLOCK_ROWS", 1)
    path = with_cell(tmp_path, 45, 3, "+1.5")
    features, labels = all_rows(converted(path, tmp_path / "out"))
    expected = frame(60, 3).fillna(0.5)
    expected.loc[43, "f1"] = 1.5
    assert np.array_equal(features, expected.iloc[:, 1:].to_numpy().astype(np.float32))
    assert np.array_equal(labels + expected["year"].min(), expected["year"])


def test_empty_cells_and_chosen_texts_are_missing_values(tmp_path: Path) -> None:
    path = with_cell(tmp_path, 5, 2, "")
    assert np.isnan(all_rows(converted(path, tmp_path / "a"))[0][3, 0])
    path = with_cell(tmp_path, 5, 2, "NA")
    assert "'NA'" in refused(path, tmp_path)
    assert np.isnan(all_rows(converted(path, tmp_path / "b", missing=("NA", "?")))[0][3, 0])


def test_empty_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [*GOOD[:1], "", *GOOD[1:10], "", "", *GOOD[10:]]
    path = write_lines(tmp_path / "t.csv", "", *lines)
    assert len(all_rows(converted(path, tmp_path / "out"))[0]) == 60
    lines[20] = lines[20].replace(",", ",x", 1)
    assert "line 22, column 2" in refused(write_lines(path, "", *lines), tmp_path / "bad")


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    lines = list(GOOD)
    lines[0] = '"ye\nar",f0,f1,f2'
    lines[9] = lines[9] + "9z"
    message = refused(write_lines(tmp_path / "t.csv", *lines), tmp_path, label="1")
    assert "line 11, column 4 ('f2')" in message


def test_plus_signs_and_blanks_are_read_although_the_fast_reader_refuses_them(tmp_path: Path) -> None:
    path = with_cell(tmp_path, 40, 3, " +1.5 ")
    features, labels = all_rows(converted(path, tmp_path / "out"))
    assert features[38, 1] == 1.5
    assert len(labels) == 60


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([*GOOD[:7], GOOD[7] + ",1", *GOOD[8:]], "line 8: 5 columns, but the header has 4"),
        ([*GOOD[:7], "2001,1", *GOOD[8:]], "line 8: 2 columns, but the header has 4"),
        ([line.replace(",", ";") for line in GOOD], "delimiter"),
        (GOOD[:1], "no row after it"),
        (["", "", ""], "no rows"),
        (
            ["year,a,a", *(line.rpartition(",")[0] for line in GOOD[1:])],
            "line 1, column 3: a second column is called 'a'",
        ),
        ([GOOD[0], *("2000" + line[4:] for line in GOOD[1:])], "same label"),
        (GOOD[:4], "rows are too few"),
        (['"' + GOOD[0], *GOOD[1:]], "line 1: a quote that is opened in this row is never closed"),
        ([*GOOD[:9], GOOD[9][:5] + '"' + GOOD[9][5:], *GOOD[10:]], "line 10: a quote"),
    ],
)
def test_tables_of_the_wrong_shape(lines: list[str], says: str, tmp_path: Path) -> None:
    assert says in refused(write_lines(tmp_path / "t.csv", *lines), tmp_path)


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "no regular file" in refused(tmp_path / "pipe.csv", tmp_path)
    assert "no such file" in refused(tmp_path / "none.csv", tmp_path)
    (tmp_path / "empty.csv").touch()
    assert "empty" in refused(tmp_path / "empty.csv", tmp_path)
    assert "directory" in refused(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD[0].encode() + b"\n2000,1,\xe9,3\n2001,1,2,3\n", "line 2, character 8: the byte 0xe9 is not UTF-8"),
        ("\n".join(GOOD).encode("utf-16-le"), "line 1: there is a zero byte: this is no text in UTF-8. Is it UTF-16?"),
        (random.Random(0).randbytes(5000), "line "),
        (b"\0" * 4096, "line 1"),
    ],
)
def test_files_that_are_no_text(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert says in refused(tmp_path / "t.csv", tmp_path)


def test_songs_outside_their_years(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [[int(rng.integers(1950, 2011)), *np.round(rng.normal(size=90), 3)] for _ in range(50)]
    rows[29][0] = 2012
    path = write_lines(tmp_path / "t.csv", *(",".join(map(str, row)) for row in rows))
    message = refused(path, tmp_path)
    assert "line 30, column 1: the label '2012' is outside 1922..2011" in message
    assert converted(path, tmp_path / "out", label_kind="years").schema.label_values[-1] == 2012


def test_texts_where_numbers_are_point_to_what_to_do(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "id,species,a", *(f"{i},{'ab'[i % 2]},{i}.5" for i in range(40)))
    message = refused(path, tmp_path)
    assert "which column is the label? By default it is the first one, 'id', but 'species' holds texts" in message
    assert message.endswith("Give --label species or --label id, or another column.")
    assert converted(path, tmp_path / "out", label="species", drop=("id",)).schema.label_values == ("a", "b")


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", *GOOD)
    assert "no column 'jahr' for the label" in refused(path, tmp_path, label="jahr")
    assert "no column '9' for --drop" in refused(path, tmp_path, drop=("9",))
    assert "no column 'x' for the split" in refused(path, tmp_path, split="group:x")
    assert "is a feature and also" in refused(path, tmp_path, features=("year", "f0"))
    assert "layout of 2x2 needs 4 features, but there are 3" in refused(path, tmp_path, layout="2x2")


@pytest.mark.slow
def test_very_many_columns(tmp_path: Path) -> None:
    num_columns = 8_000
    rows = [f"{2000 + i % 3}," + ",".join([f"{i}.25"] * num_columns) for i in range(12)]
    features, _ = all_rows(converted(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out"))
    assert features.shape == (12, num_columns)
    assert features[7, 7_999] == 7.25
    rows[7] = rows[7] + "x"
    assert f"line 8, column {num_columns + 1}" in refused(write_lines(tmp_path / "t.csv", *rows), tmp_path / "bad")


@pytest.mark.parametrize("column", [1, 2])
def test_rows_are_not_lost_in_a_quote_that_is_not_closed(column: int, tmp_path: Path) -> None:
    """pyarrow's reader takes the rest of the file for one cell, also of a column that is not asked for."""
    rows = [f"{i}.5,{'ab'[i % 2]},{'uv'[i % 2]}" for i in range(300)]
    rows[280] = ",".join([*rows[280].split(",")[:column], '"a', *rows[280].split(",")[column + 1 :]])
    path = write_lines(tmp_path / "t.csv", "x,y,z", *rows)
    for label, other in (("y", "z"), ("z", "y")):
        assert "line 282" in refused(path, tmp_path, label=label, drop=(other,))
    rows[290] = ",".join([*rows[290].split(",")[:column], '"a', *rows[290].split(",")[column + 1 :]])
    path = write_lines(tmp_path / "t.csv", "x,y,z", *rows)
    assert "line breaks" in refused(path, tmp_path, label="xyz"[column], drop=("xyz"[3 - column],))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(careful, "MAX_LINE_CHARS", 10_000)
    for line in (",".join(["1"] * 20_000), '"' + "a\n" * 20_000):
        path = write_lines(tmp_path / "t.csv", *GOOD[:30], line, *GOOD[30:])
        assert "line 31" in (message := refused(path, tmp_path)) or "no CSV" in message or "columns" in message


def test_prediction_reads_the_same_columns_in_order_and_labels_if_any(tmp_path: Path) -> None:
    table = frame(60, 3).fillna(0.5)
    table.to_csv(tmp_path / "t.csv", index=False)
    schema = converted(tmp_path / "t.csv", tmp_path / "out").schema
    expected = table.iloc[:, 1:].to_numpy().astype(np.float32)
    shuffled = table[["f2", "year", "f0", "f1"]]
    for name, other, header, has_labels in [
        ("same", table, True, True),
        ("shuffled", shuffled, True, True),
        ("without labels", table.drop(columns="year"), True, False),
        ("no header", table, False, True),
        ("features alone", table.drop(columns="year"), False, False),
    ]:
        other.to_csv(tmp_path / "p.csv", index=False, header=header)
        blocks = list(read_table_for_prediction(tmp_path / "p.csv", schema, TableFormat()))
        assert np.array_equal(np.concatenate([b[0] for b in blocks]), expected), name
        labels = [b[1] for b in blocks]
        assert (labels[0] is not None) == has_labels, name
        if has_labels:
            assert np.array_equal(np.concatenate(labels) + 1990, table["year"]), name
    table.drop(columns="f1").to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match="1 of the model's 3 columns are missing: f1"):
        next(read_table_for_prediction(tmp_path / "p.csv", schema, TableFormat()))
    table.assign(year=2050).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(
        DataError, match=r"line 2, column 1 \('year'\): the label 2050 is none of the model's 20 outputs"
    ):
        next(read_table_for_prediction(tmp_path / "p.csv", schema, TableFormat()))
    assert next(read_table_for_prediction(tmp_path / "p.csv", schema, TableFormat(), with_labels=False))[1] is None
