"""Headers, indices of data frames, and columns by name or number: what is meant, and what the user is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, frame, new_rows, sections, write_lines

from hvd_train.data import Dataset, convert

FRACTIONS = [f"{i / 7:.3f},{i % 5}.5,-{i}.25,{i % 2},{i * 1.5}" for i in range(40)]
WHOLE = [f"{i % 2},{i},{i % 3},{i % 7},{i % 5}" for i in range(40)]


def told(path: Path, out: Path, **options: Any) -> tuple[Dataset, str]:
    lines: list[str] = []
    return Dataset.open(convert(path, out, *sections(**options), report=lines.append)), "\n".join(lines)


@pytest.mark.parametrize("first", ["0,1,2,3,4", "1,2,3,4,5"])
def test_a_header_that_counts_the_columns_is_found_and_told(first: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", first, *FRACTIONS)
    dataset, lines = told(path, tmp_path / "out", label="4")
    assert len(all_rows(dataset)[0]) == 40
    assert dataset.schema.label_name == "4"
    assert "taken for the names of the columns, since they count the columns: --header no" in lines
    assert "the label: 4 is taken for the column with that name" in lines or first.startswith("1")
    again, lines = told(path, tmp_path / "again", header="no")
    assert len(all_rows(again)[0]) == 41
    assert "taken for" not in lines


def test_a_header_that_counts_after_an_index_is_found(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", ",0,1,2,3,4", *(f"{i},{row}" for i, row in enumerate(FRACTIONS)))
    dataset, lines = told(path, tmp_path / "out", label="3")
    assert dataset.schema.feature_names == ("0", "1", "2", "4")
    assert "'column_1'" in lines


@pytest.mark.parametrize(
    "rows",
    [
        ["0,1,2,3,4", *WHOLE],  # whole numbers: may be a row
        ["0,1,2,3,4", *FRACTIONS[:20], "0,1,2,3,4", *FRACTIONS[20:]],
        ["0,1", *("1,2.5" for _ in FRACTIONS)],
        ["0,2,1,3,4", *FRACTIONS],
        ["2,3,4,5,6", *FRACTIONS],
        ["0,1,2,3,4.0", *FRACTIONS],
    ],
)
def test_a_first_row_of_numbers_stays_a_row(rows: list[str], tmp_path: Path) -> None:
    _, lines = told(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", label_kind="values")
    assert "taken for" not in lines


def test_wide_tables_of_whole_numbers_may_have_counted_names(tmp_path: Path) -> None:
    rows = [",".join(str(i * j % 7) for j in range(10)) for i in range(1, 41)]
    path = write_lines(tmp_path / "t.csv", ",".join(map(str, range(10))), *rows)
    assert len(all_rows(told(path, tmp_path / "out", label="9")[0])[0]) == 40


SPECTRA = [",".join(f"{value:.3f}" for value in row) for row in np.random.default_rng(0).normal(size=(40, 12))]
AXIS = ",".join(f"{400 + 2.5 * i}" for i in range(12))


@pytest.mark.parametrize("first", ["sample", ""])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_header_of_wavelengths_is_found_and_told(first: str, backwards: bool, tmp_path: Path) -> None:
    axis = ",".join(AXIS.split(",")[::-1]) if backwards else AXIS
    rows = [f"{'ab'[i % 2]},{row}" for i, row in enumerate(SPECTRA)]
    path = write_lines(tmp_path / "t.csv", f"{first},{axis}", *rows)
    dataset, lines = told(path, tmp_path / "out", label="1")
    assert dataset.schema.label_values == ("a", "b")
    assert "since they rise or fall from column to column, as no row does" in lines
    assert np.array_equal(new_rows(path, dataset)[0], all_rows(dataset)[0])


def test_rows_that_rise_from_column_to_column_are_no_header(tmp_path: Path) -> None:
    rows = [f"{i % 2}," + ",".join(f"{i + 2.5 * j}" for j in range(12)) for i in range(40)]
    assert len(all_rows(told(write_lines(tmp_path / "t.csv", *rows), tmp_path / "out", label="1")[0])[0]) == 40


def test_a_header_that_may_have_been_read_as_a_row_is_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "kind,7,3,12", *(f"{'ab'[i % 2]},{i},1,{i}.5" for i in range(40)))
    _, lines = told(path, tmp_path / "out")
    assert "the class 'kind' is in the first row alone: if that is a header, say so by --header yes" in lines
    _, lines = told(path, tmp_path / "named", header="yes")
    assert "first row alone" not in lines


def test_a_first_row_of_missing_cells_is_no_header(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "1,?,?,NA", *(f"{i % 2},{i},{i % 3},{i % 7}" for i in range(40)))
    dataset, _ = told(path, tmp_path / "out", missing=("?", "NA"))
    assert len(all_rows(dataset)[0]) == 41


def test_names_between_which_numbers_stand_are_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "a,g,0.5", *(f"{'bc'[i % 2]},g{i},{i}" for i in range(40)))
    _, lines = told(path, tmp_path / "out", drop=("2",))
    assert "the first line (a, g, 0.5) is taken for the names of the columns, although '0.5'" in lines


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=0.9, random_state=0)


INDEXED: dict[str, tuple[str, Callable[[pd.DataFrame, Path], object]]] = {
    "csv": ("'column_1'", lambda table, path: table.to_csv(path)),
    "csv again": ("'Unnamed: 0'", lambda table, path: table.rename_axis("Unnamed: 0").to_csv(path)),
    "parquet": ("'__index_level_0__'", lambda table, path: shuffled(table).to_parquet(path)),
    "parquet named": ("'song'", lambda table, path: shuffled(table).rename_axis("song").to_parquet(path)),
    "csv of parquet": ("'__index_level_0__'", lambda table, path: table.rename_axis("__index_level_0__").to_csv(path)),
}


@pytest.mark.parametrize("name", INDEXED)
def test_the_index_of_a_data_frame_is_left_out_and_told(name: str, tmp_path: Path) -> None:
    column, write = INDEXED[name]
    table = frame(60, 3).rename(columns={"year": "kind"})
    path = tmp_path / f"t.{name.split()[0]}"
    write(table, path)
    dataset, lines = told(path, tmp_path / "out")
    assert dataset.schema.feature_names == ("f0", "f1", "f2") if "parquet" not in name else True
    assert set(dataset.schema.feature_names) == {"f0", "f1", "f2"}
    assert dataset.schema.label_name == "kind"
    assert f"left out, since they are the index of a data frame: {column}" in lines
    asked = converted(path, tmp_path / "asked", features=("f0", column.strip("'")))
    assert asked.schema.num_features == 2
    assert len(new_rows(path, dataset)[0]) == len(all_rows(dataset)[0])
    table.to_csv(tmp_path / "plain.csv", index=False)
    assert len(new_rows(tmp_path / "plain.csv", dataset)[0]) == 60


def test_a_parquet_file_with_damaged_words_of_pandas_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for i, damaged in enumerate((b"{", b"[]", b"[" * 100_000, b'{"index_columns": [{}, 1, "x"]}')):
        table = pa.table(frame(60, 2)).replace_schema_metadata({b"pandas": damaged})
        pq.write_table(table, tmp_path / "t.parquet")
        assert converted(tmp_path / "t.parquet", tmp_path / f"{i}").schema.num_features == 2


@pytest.mark.parametrize("start", [0, 1, 37])
def test_a_column_that_numbers_the_rows_is_told(start: int, tmp_path: Path) -> None:
    table = frame(300, 2)
    table["number"] = np.arange(300) * (1 if start < 2 else 3) + start
    table["steps"] = np.arange(300) * 0.5
    table["random"] = np.random.default_rng(0).permutation(300)
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset, lines = told(tmp_path / "t.csv", tmp_path / "out")
    assert "'number' rises by whole numbers from row to row" in lines
    assert dataset.metadata["row_numbers"] == ["number"]


def test_a_number_is_a_name_before_it_is_a_position_and_that_is_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "y,3,b,z", *(f"{i % 2},{i},{i}.5,0.{i}" for i in range(40)))
    dataset, lines = told(path, tmp_path / "out", drop=("3",))
    assert dataset.schema.feature_names == ("b", "z")
    assert (
        "--drop: 3 is taken for the column with that name, number 2, and not for column 3, whose name is 'b'" in lines
    )
    _, lines = told(path, tmp_path / "again", label="1")
    assert "is taken for the column" not in lines


# How new rows are read for a run that was trained on each kind of table.
