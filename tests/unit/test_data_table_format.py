"""How a table was read travels with its dataset and its run, and new rows are read alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, frame, write_lines

from hvd_train.arguments_table import TableFlags
from hvd_train.config import DataConfig
from hvd_train.data import Dataset, TableFormat, read_table_for_prediction
from hvd_train.errors import ConfigError, DataError


def names_of(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def new_rows(path: Path, dataset: Dataset, **given: object) -> tuple[np.ndarray, np.ndarray | None]:
    blocks = list(read_table_for_prediction(path, dataset.schema, dataset.table_format, given=given))
    labels = None if blocks[0][1] is None else np.concatenate([block[1] for block in blocks])
    return np.concatenate([block[0] for block in blocks]), labels


def test_each_way_of_reading_is_a_setting_and_a_flag() -> None:
    assert set(names_of(TableFormat)) <= set(names_of(DataConfig))
    assert names_of(TableFlags) == names_of(TableFormat)
    for field in dataclasses.fields(TableFormat):
        assert field.default == getattr(DataConfig(), field.name)
    assert TableFlags().given() == {}
    assert TableFlags(header="no", missing=("?",)).given() == {"header": "no", "missing": ("?",)}
    with pytest.raises(ConfigError, match="delimiter"):
        TableFlags(delimiter=";;")


def test_a_table_format_is_read_back_from_json_or_refused() -> None:
    given = TableFormat(format="csv", missing=("?", "-999"), header="no", delimiter=";", index_base="0")
    assert TableFormat.from_json(given.to_json() | {"missing": ["?", "-999"]}) == given
    assert TableFormat.from_json({}) == TableFormat()
    for damaged in (
        {"header": "maybe"},
        {"delimiter": 1},
        {"missing": [1]},
        {"missing": "?"},
        {"later": "x"},
        {"later": None},
    ):
        with pytest.raises(DataError, match="not known here"):
            TableFormat.from_json(damaged)


def test_what_was_found_out_is_kept_with_the_dataset(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.txt", index=False, sep=";", header=False)
    found = converted(tmp_path / "t.txt", tmp_path / "a", delimiter=";", missing=("?",)).table_format
    assert found == TableFormat(format="csv", header="no", delimiter=";", missing=("?",))
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
