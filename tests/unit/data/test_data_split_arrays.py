"""Archives with an array that names the split or the group of each row, and formats that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import all_rows, converted, new_rows, sections, write_lines
from series_files import some_series, ts_text, write

from hvd_train.config import SPLITS
from hvd_train.data import Dataset, convert
from hvd_train.errors import DataError

NUM_ROWS = 60
SERIES = np.random.default_rng(2).normal(size=(NUM_ROWS, 5, 3)).astype(np.float32)
LABELS = np.arange(NUM_ROWS) % 3
OFFICIAL = np.where(np.arange(NUM_ROWS) % 4 == 3, "TEST", np.where(np.arange(NUM_ROWS) % 8 == 0, "val", " train "))


def archive(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "t.npz", **{"features": SERIES, "labels": LABELS} | arrays)
    return tmp_path / "t.npz"


def rows_of(dataset: Dataset) -> list[list[int]]:
    """The rows of train, val and test by their number in the file."""
    return [sorted(dataset.load(split, range(dataset.num_virtual_shards)).row_ids.tolist()) for split in SPLITS]


@pytest.mark.parametrize("of", [OFFICIAL, OFFICIAL.astype("S"), OFFICIAL[:, None], np.asfortranarray(OFFICIAL)])
@pytest.mark.parametrize("features", [SERIES, SERIES.reshape(NUM_ROWS, -1)], ids=["three axes", "two axes"])
def test_an_array_names_the_split_of_each_row(tmp_path: Path, features: np.ndarray, of: np.ndarray) -> None:
    path = archive(tmp_path, features=features, Subset=of, weights=np.ones(NUM_ROWS))
    told: list[str] = []
    dataset = Dataset.open(convert(path, tmp_path / "out", *sections(split="column:subset"), report=told.append))
    expected = [np.flatnonzero(np.char.strip(np.char.lower(OFFICIAL)) == split).tolist() for split in SPLITS]
    assert rows_of(dataset) == expected
    assert [line for line in told if "left out" in line] == ["left out of the file: weights"]
    plain = converted(archive(tmp_path, features=features), tmp_path / "plain")
    assert dataset.schema == plain.schema
    assert np.array_equal(all_rows(dataset)[0], all_rows(plain)[0])
    assert np.array_equal(new_rows(path, dataset)[0], all_rows(plain)[0])


def test_a_row_without_a_label_keeps_the_others_in_their_splits(tmp_path: Path) -> None:
    labels = LABELS.astype(float)
    labels[[0, 7]] = np.nan
    path = archive(tmp_path, labels=labels, split=OFFICIAL)
    dataset = converted(path, tmp_path / "out", split="column:split", missing_labels="drop")
    train, val, test = rows_of(dataset)
    assert 0 not in val
    assert test == [row for row in range(3, NUM_ROWS, 4) if row != 7]
    assert len(train) + len(val) + len(test) == NUM_ROWS - 2


def test_groups_of_an_array_stay_together(tmp_path: Path) -> None:
    persons = np.arange(NUM_ROWS) // 5
    dataset = converted(archive(tmp_path, person=persons), tmp_path / "out", split="group:person")
    groups = [set(persons[rows].tolist()) for rows in rows_of(dataset)]
    assert all(groups)
    assert sum(map(len, groups)) == 12


@pytest.mark.parametrize(
    ("arrays", "split", "says"),
    [
        ({}, "column:split", "needs an array 'split' with a cell for each row. The arrays beside .* are: none"),
        ({"fold": OFFICIAL}, "column:split", "the features and the labels are: fold"),
        ({"fold": OFFICIAL}, "column:labels", "needs an array 'labels'"),
        ({"split": OFFICIAL[:59]}, "column:split", r"split is \(59,\) of <U7. For --split column:split .* the 60 rows"),
        ({"split": np.ones((NUM_ROWS, 2), int)}, "column:split", r"split is \(60, 2\) of int64"),
        ({"split": np.ones(NUM_ROWS)}, "group:split", r"split is \(60,\) of float64"),
        (
            {"split": np.array(["train"] * 59 + ["tset"])},
            "column:split",
            r"row 60, split: 'tset' is no split: train, val",
        ),
        ({"split": np.array(["train"] * 59 + [""])}, "column:split", "row 60, split: the cell is empty"),
        ({"split": LABELS}, "column:split", "row 1, split: '0' is no split"),
        (
            {"split": np.array([b"tr\xfc"] * NUM_ROWS)},
            "column:split",
            r"row 1, split: the cell b'tr\\xfc' is not UTF-8",
        ),
        ({"split": np.array([{}] * NUM_ROWS)}, "column:split", "'split.npy' holds Python objects|holds Python objects"),
        ({"split": np.array(["train"] * NUM_ROWS)}, "column:split", "0 would be left for test"),
    ],
)
def test_an_array_that_is_no_split_is_refused(tmp_path: Path, arrays: Any, split: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        converted(archive(tmp_path, **arrays), tmp_path / "out", split=split)


def test_formats_without_such_a_column_say_where_test_rows_come_from(tmp_path: Path) -> None:
    series = write(tmp_path / "a.ts", ts_text(*some_series(30, 2, (6, 8))))
    with pytest.raises(
        DataError, match="--split column:split is not possible: a ts file has no such column.*--test-data"
    ):
        converted(series, tmp_path / "out", split="column:split")
    sparse = write_lines(tmp_path / "a.svm", *(f"{i % 2} 1:{i}.5" for i in range(30)))
    with pytest.raises(DataError, match="a libsvm file has no such column"):
        converted(sparse, tmp_path / "out", split="group:1")
    for path in (series, archive(tmp_path, split=OFFICIAL)):
        with pytest.raises(DataError, match="--split column:split assigns all rows, but --test-data gives those"):
            converted(path, tmp_path / "out", split="column:split", test_path=path)
