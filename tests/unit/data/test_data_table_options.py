"""Options of a text table that contradict each other, and the columns that a label may be in."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_helpers import all_rows, converted, write_lines

from hvd_train.config import TableConfig
from hvd_train.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delimiter": "ab"}, "it is one character, tab or whitespace"),
        ({"thousands": "x"}, "thousands"),
        ({"encoding": "utf-99"}, "it is the name of an encoding"),
        ({"encoding": "rot13"}, "it is the name of an encoding"),
        ({"comment": "-"}, "it is a sign such as #"),
        ({"comment": "|", "delimiter": "|"}, "it is also the delimiter"),
    ],
)
def test_options_that_cannot_be(options: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TableConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"decimal": ","}, {"thousands": "."}, {"thousands": ","}])
def test_one_sign_has_one_meaning(options: dict[str, str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "y,a", *(f"{i},{i}" for i in range(30)))
    with pytest.raises(DataError, match="cannot be both"):
        converted(path, tmp_path / "out", **options)


def test_the_last_column_is_minus_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "a,b,kind", *(f"{i},{-i},{'xy'[i % 2]}" for i in range(30)))
    assert converted(path, tmp_path / "out", label="-1", drop=("-2",)).schema.label_name == "kind"
    with pytest.raises(DataError, match="no column '-4' for the label"):
        converted(path, tmp_path / "bad", label="-4")
    with pytest.raises(DataError, match="One column at a time"):
        converted(path, tmp_path / "bad", label="a,b")


def test_a_header_in_a_comment_before_a_row_with_missing_cells(tmp_path: Path) -> None:
    rows = ["// label;a;b;c", "c1;-4.5;;NA", *(f"c{i % 2};{i};1;2" for i in range(30))]
    path = write_lines(tmp_path / "t.csv", *rows)
    for header in ("yes", "auto"):
        dataset = converted(path, tmp_path / header, delimiter=";", comment="//", missing=("NA",), header=header)
        assert dataset.schema.feature_names == ("a", "b", "c")
        assert len(all_rows(dataset)[0]) == 31


def test_text_in_the_last_column_may_be_the_label(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "a,b,kind", *(f"{i},{-i},{'xy'[i % 2]}" for i in range(30)))
    with pytest.raises(DataError, match="'kind' holds texts and may be it. Give --label kind or --label a"):
        converted(path, tmp_path / "bad")


def test_labels_that_are_all_different(tmp_path: Path) -> None:
    rows = [f"2015-{i // 28 + 1:02d}-{i % 28 + 1:02d},{i}" for i in range(100)]
    with pytest.raises(DataError, match=r"the 100 rows have 100 different labels .* an identifier or a date"):
        converted(write_lines(tmp_path / "t.csv", "day,a", *rows), tmp_path / "out")
