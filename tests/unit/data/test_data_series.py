"""Series: .ts files with every variant of the header, unequal lengths, missing values, and test rows of their own."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from data_helpers import all_rows, converted, write_lines
from series_files import dense, some_series, ts_text, write

from hvd_train.data import TableFormat
from hvd_train.data.sources import open_table
from hvd_train.errors import DataError

NAN = float("nan")


@pytest.mark.parametrize(("channels", "lengths"), [(1, (9, 9)), (3, (9, 9)), (1, (4, 12)), (2, (4, 12))])
def test_what_is_read_back_is_what_was_written(channels: int, lengths: tuple[int, int], tmp_path: Path) -> None:
    series, labels = some_series(40, channels, lengths)
    dataset = converted(write(tmp_path / "a.ts", ts_text(series, labels)), tmp_path / "out")
    found, outputs = all_rows(dataset)
    positions = max(len(one[0]) for one in series)
    assert dataset.schema.layout == (positions, channels)
    assert np.array_equal(found, dense(series, positions), equal_nan=True)
    assert [dataset.schema.label_values[output] for output in outputs] == labels
    assert dataset.series == {
        "positions": positions,
        "channels": channels,
        "shortest": min(len(one[0]) for one in series),
        "longest": positions,
        "num_missing": 0,
    }


def stamped(values: str) -> str:
    """The values with a time before each.

    >>> stamped("1,2")
    '(2020-01-01 10:00:00,1),(2020-01-01 10:01:00,2)'
    """
    return ",".join(f"(2020-01-01 10:{minute:02}:00,{value})" for minute, value in enumerate(values.split(",")))


BODY = ["1,2,3:a", "4,5,6:b", "7,8,9:a", "1,1,2:b"] * 3
HEADERS: dict[str, tuple[list[str], list[str]]] = {
    "the least": (["@classLabel true a b"], BODY),
    "no list of classes": (["@classLabel true"], BODY),
    "any case, blanks and comments": (
        ["# text", "", "  @PROBLEMNAME x y", "@TimeStamps FALSE", "@classlabel True a b", "#", "@Univariate true"],
        ["# between", *BODY, "", "  "],
    ),
    "all tags": (
        [
            "@problemName x",
            "@timeStamps false",
            "@missing false",
            "@univariate true",
            "@dimensions 1",
            "@equalLength true",
            "@seriesLength 3",
            "@classLabel true a b",
            "@targetLabel false",
        ],
        BODY,
    ),
    "dimension instead of dimensions": (["@dimension 1", "@classLabel true a b"], BODY),
    "an unknown tag": (["@license CC-BY", "@classLabel true a b"], BODY),
    "time stamps": (
        ["@timeStamps true", "@classLabel true a b"],
        [f"{stamped(line[:5])}:{line[-1]}" for line in BODY],
    ),
    "carriage returns": (["@classLabel true a b\r"], [f"{line}\r" for line in BODY]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_every_header_that_is_written_is_read(name: str, tmp_path: Path) -> None:
    header, body = HEADERS[name]
    dataset = converted(write_lines(tmp_path / "a.ts", *header, "@data", *body), tmp_path / "out")
    found, labels = all_rows(dataset)
    assert found.tolist() == [[float(v) for v in line[:5].split(",")] for line in BODY]
    assert (dataset.schema.label_kind, labels.tolist()) == ("classes", [0, 1] * 6)
    remarks = " ".join(dataset.metadata["source"]["remarks"])
    assert ("@license" in remarks) == (name == "an unknown tag")
    assert ("time stamps" in remarks) == (name == "time stamps")


def test_a_target_is_a_value(tmp_path: Path) -> None:
    series, _ = some_series(30, 2, (5, 8))
    text = ts_text(series, [str(i / 7) for i in range(30)], target=True)
    dataset = converted(write(tmp_path / "a.ts", text), tmp_path / "out")
    assert (dataset.schema.label_kind, dataset.schema.num_outputs) == ("values", 1)
    assert all_rows(dataset)[1].tolist() == [float(np.float32(i / 7)) for i in range(30)]


def test_a_missing_value_is_nan_however_it_is_written(tmp_path: Path) -> None:
    lines = ["1,?,3,4:a", "NaN,2,3,4:b", "1,2,,4:a", "1,-999,3,nan:b", "1,2,3,?:a", "1,2,3,4:b"] * 2
    path = write_lines(tmp_path / "a.ts", "@missing true", "@classLabel true a b", "@data", *lines)
    dataset = converted(path, tmp_path / "out", missing=("-999",))
    expected = [[1, NAN, 3, 4], [NAN, 2, 3, 4], [1, 2, NAN, 4], [1, NAN, 3, NAN], [1, 2, 3, NAN], [1, 2, 3, 4]] * 2
    assert np.array_equal(all_rows(dataset)[0], np.array(expected), equal_nan=True)
    # What is missing at the end is padding: the series is shorter.
    assert dataset.series is not None
    assert (dataset.series["shortest"], dataset.series["num_missing"]) == (3, 8)


def test_channels_of_one_series_may_have_unequal_lengths(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.ts", "@classLabel true a b", "@data", *["1,2,3:4:a", "1:2,3:b", "1::b"] * 4)
    found, _ = all_rows(converted(path, tmp_path / "out"))
    assert np.array_equal(
        found[:3], [[1, 2, 3, 4, NAN, NAN], [1, NAN, NAN, 2, 3, NAN], [1, *[NAN] * 5]], equal_nan=True
    )


@pytest.mark.parametrize("name", ["a.ts", "a.ts.gz", "named_by_its_content"])
def test_a_ts_file_is_recognized(name: str, tmp_path: Path) -> None:
    series, labels = some_series(30, 1, (5, 5))
    text = ts_text(series, labels)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    table = open_table(path, TableFormat())
    assert (table.table_format.format, table.layout) == ("ts", (5, 1))


BAD: dict[str, tuple[list[str], str]] = {
    "no data": (["@classLabel true a"], "there is no line @data"),
    "nothing after it": (["@data"], "the file holds no rows"),
    "text before it": (["1,2:a", "@data"], "line 1: '1,2:a' stands before the line @data"),
    "no boolean": (["@missing maybe", "@data"], "line 1: @missing is true or false, not 'maybe'"),
    "no number": (["@dimensions two", "@data"], "line 1: @dimensions is a whole number from 1 on, not 'two'"),
    "twice": (["@missing true", "@missing true", "@data"], "line 2: @missing stands there twice"),
    "two labels": (["@classLabel true a", "@targetLabel true", "@data", "1:a"], "are both true"),
    "two univariate": (["@univariate true", "@dimensions 2", "@data", "1:2"], "@dimensions is 2"),
    "too many channels": (["@univariate true", "@classLabel true a", "@data", "1:2:a"], "line 4: there are 2 channels"),
    "too few channels": (["@dimensions 2", "@classLabel true a", "@data", "1:a"], "line 4: there are 1 channels"),
    "another number of channels": (["@classLabel true a", "@data", "1:2:a", "1:a"], "line 4: there are 1 channels"),
    "no label": (["@classLabel true a", "@data", "1,2"], "line 3: there are 0 channels"),
    "another length than said": (
        ["@equalLength true", "@seriesLength 3", "@classLabel true a", "@data", "1,2:a"],
        "line 5: channel 1 has 2 positions, but @seriesLength says 3",
    ),
    "other lengths": (
        ["@equalLength true", "@classLabel true a", "@data", "1,2:a", "1,2,3:a"],
        "line 5: channel 1 has 3 positions, but line 4 has 2",
    ),
    "an unknown class": (["@classLabel true a b", "@data", "1,2:c"], "line 3: the label 'c' is none of the 2 classes"),
    "a word": (["@classLabel true a b", "@data", "1,x2:a"], "line 3, channel 1, position 2: 'x2' is no number"),
    "too large": (["@classLabel true a b", "@data", "1,2,1e39:a"], "channel 1, position 3: '1e39' is no number"),
    "infinite": (["@classLabel true a b", "@data", "1,-inf:a"], "channel 1, position 2: '-inf' is no number"),
    "an underscore": (["@classLabel true a b", "@data", "1_0,2:a"], "channel 1, position 1: '1_0' is no number"),
    "no target": (["@targetLabel true", "@data", "1,2:big"], "line 3: the label 'big' is no number"),
    "a missing label": (["@classLabel true a b", "@data", "1,2:a", "1,2:?"], "line 4, column 1: the label is missing"),
    "no labels": (["@classLabel false", "@data", "1,2", "3,4"], "the series have no labels"),
    "no value at all": (["@classLabel true a b", "@data", ":a"], "no series has a value"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    lines, message = BAD[name]
    path = write_lines(tmp_path / "a.ts", *lines)
    with pytest.raises(DataError) as error:
        converted(path, tmp_path / "out")
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_options_of_tables_are_refused_or_leave_no_series(tmp_path: Path) -> None:
    series, labels = some_series(30, 2, (5, 5))
    path = write(tmp_path / "a.ts", ts_text(series, labels))
    with pytest.raises(DataError, match="the label stands at the end of each line: leave --label out"):
        converted(path, tmp_path / "out", label="2")
    with pytest.raises(DataError, match=r"a layout of 5x2 needs 10 features, but there are 9\. Give --layout"):
        converted(path, tmp_path / "out", drop=("2",))
    chosen = converted(path, tmp_path / "out", drop=("2",), layout="9x1")
    assert (chosen.schema.layout, chosen.series) == ((9, 1), None)
