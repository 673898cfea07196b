"""Test rows in a table of their own, for series and for any other table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_helpers import all_rows, converted, sections, write_lines
from series_files import dense, some_series, ts_text, write

from hvd_train.data import Dataset, prepare
from hvd_train.errors import DataError


def test_test_rows_of_their_own_are_the_official_split(tmp_path: Path) -> None:
    train, train_labels = some_series(60, 2, (4, 8), seed=1)
    test, test_labels = some_series(33, 2, (6, 11), seed=2)
    paths = [
        write(tmp_path / "X_TRAIN.ts", ts_text(train, train_labels)),
        write(tmp_path / "X_TEST.ts", ts_text(test, test_labels)),
    ]
    dataset = converted(paths[0], tmp_path / "out", test_path=paths[1], val_fraction=0.2)
    assert [dataset.num_rows(split) for split in ("train", "val", "test")] == [48, 12, 33]
    assert dataset.metadata["split"] == "official"
    assert dataset.label_counts("val").tolist() == [4, 4, 4]
    rows = dataset.load("test", range(dataset.num_virtual_shards))
    assert sorted(rows.row_ids) == list(range(60, 93))
    found, _ = all_rows(dataset)
    positions = max(len(one[0]) for one in [*train, *test])
    assert np.array_equal(found, dense([*train, *test], positions), equal_nan=True)


def test_any_table_may_have_test_rows_of_its_own(tmp_path: Path) -> None:
    rows = [f"{i / 3},{i},{'n' if i % 2 else 'y'}" for i in range(50)]
    one = write_lines(tmp_path / "one.csv", "a,b,label", *rows[:40])
    other = write_lines(tmp_path / "other.csv", "a,b,label", *rows[40:])
    dataset = converted(one, tmp_path / "out", test_path=other, label="label")
    assert set(dataset.load("test", range(dataset.num_virtual_shards)).row_ids) == set(range(40, 50))
    assert [dataset.num_rows(split) for split in ("train", "val", "test")] == [36, 4, 10]
    assert any("other.csv" in line for line in dataset.metadata["source"]["remarks"])
    bad = write_lines(tmp_path / "bad.csv", "a,b,label", *rows[40:45], "1,x,y")
    with pytest.raises(DataError, match=r"bad\.csv, line 7, column 2 \('b'\)"):
        converted(one, tmp_path / "no", test_path=bad, label="label")
    unlike = write_lines(tmp_path / "unlike.csv", "b,a,label", *rows[40:])
    with pytest.raises(
        DataError, match=r"--test-data has 3 columns \(b, a, label\), but .* has 3 columns \(a, b, label\)"
    ):
        converted(one, tmp_path / "no", test_path=unlike, label="label")
    with pytest.raises(
        DataError, match="--split random assigns all rows, but --test-data gives those of the test split"
    ):
        converted(one, tmp_path / "no", test_path=other, label="label", split="random")


def test_rows_without_a_label_before_the_test_rows_are_not_counted(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "one.csv", "a,label", *["1,y", "2,", "3,n", "4,y", "5,n"] * 4)
    other = write_lines(tmp_path / "other.csv", "a,label", *["11,y", "12,n", "13,"])
    dataset = converted(one, tmp_path / "out", test_path=other, label="label", missing_labels="drop")
    assert dataset.load("test", range(dataset.num_virtual_shards)).features.ravel().tolist() == [11, 12]


def test_the_cache_knows_the_test_rows(tmp_path: Path) -> None:
    series, labels = some_series(30, 1, (5, 5))
    path = write(tmp_path / "a.ts", ts_text(series, labels))
    tests = [write(tmp_path / f"test{n}.ts", ts_text(series[:n], labels[:n])) for n in (9, 12)]
    options = {"path": path, "cache_dir": tmp_path / "cache"}
    made = [prepare(*sections(**options, test_path=test)) for test in (*tests, tests[0], None)]
    assert made[0] == made[2] != made[1] != made[3]
    assert [Dataset.open(directory).num_rows("test") for directory in made] == [9, 12, 9, 3]
    with pytest.raises(DataError, match="was converted before, with test rows of its own: leave --test-data out"):
        prepare(*sections(path=made[0], test_path=tests[0]))
    with pytest.raises(DataError, match="--test-data needs --data"):
        prepare(*sections(test_path=tests[0]))
    with pytest.raises(DataError, match=r"no\.ts: there is no such file"):
        prepare(*sections(**options, test_path=tmp_path / "no.ts"))
