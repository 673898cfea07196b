"""Which rows go to which split, and the splits that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import converted, frame
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.config import SPLITS, SplitConfig
from hvd_train.data import Dataset
from hvd_train.data.conversion.splits import SplitInput, assign_splits
from hvd_train.data.schema import NUM_SONGS
from hvd_train.errors import DataError


def codes(config: SplitConfig, num_rows: int, **given_: Any) -> np.ndarray:
    """0 for train, 1 for val, 2 for test."""
    labels = given_.pop("labels", np.zeros(num_rows))
    keys, names = given_.pop("keys", np.zeros(num_rows, np.int32)), given_.pop("key_names", ())
    defaults: dict[str, Any] = {"is_songs": False, "has_classes": False}
    return assign_splits(
        config,
        SplitInput(
            path="t.csv",
            num_rows=num_rows,
            labels=lambda: labels,
            keys=lambda: keys,
            key_names=names,
            key_error=lambda row, problem: DataError(f"t.csv, line {row + 1}: {problem}"),
            **(defaults | given_),
        ),
    )


def ids(dataset: Dataset, split: Any) -> np.ndarray:
    return np.sort(dataset.load(split, range(dataset.num_virtual_shards)).row_ids)


def test_the_official_split_validates_on_the_end_of_its_train_part() -> None:
    found = codes(SplitConfig(), NUM_SONGS, is_songs=True)
    assert np.array_equal(np.bincount(found), [417_343, 46_372, 51_630])
    assert np.all(np.diff(found.astype(int)) >= 0)
    with pytest.raises(DataError, match="515,345 rows of 91"):
        codes(SplitConfig(method="official"), 800, is_songs=True)


def test_songs_are_not_split_at_random_unless_insisted() -> None:
    assert np.all(np.diff(codes(SplitConfig(), 800, is_songs=True).astype(int)) >= 0)
    for split in ("random", "stratified"):
        with pytest.raises(DataError, match="artist"):
            codes(SplitConfig(method=split), 800, is_songs=True)
        insisted = codes(SplitConfig(method=split, insist_on_random_split=True), 800, is_songs=True)
        assert np.array_equal(np.bincount(insisted), [640, 80, 80])
        assert np.any(np.diff(insisted.astype(int)) < 0)


@given(st.integers(3, 300), st.integers(0, 3), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_random_shares_are_exact_and_follow_the_seed(num_rows: int, seed: int, val: float, test: float) -> None:
    config = SplitConfig(method="random", seed=seed, val_fraction=val, test_fraction=test)
    num_val, num_test = round(num_rows * val), round(num_rows * test)
    if min(num_val, num_test) < 1 or num_rows - num_val - num_test < 2:
        with pytest.raises(DataError, match="too few"):
            codes(config, num_rows)
        return
    found = codes(config, num_rows)
    assert np.array_equal(np.bincount(found), [num_rows - num_val - num_test, num_val, num_test])
    assert np.array_equal(found, codes(config, num_rows))


@given(st.lists(st.integers(1, 40), min_size=3, max_size=30), st.integers(0, 3))
def test_stratified_keeps_each_class_share_within_a_row(sizes: list[int], seed: int) -> None:
    if sum(sizes) < 40:
        sizes = [*sizes, 40]
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(float)
    found = codes(SplitConfig(seed=seed), len(labels), labels=labels, has_classes=True)
    for k, size in enumerate(sizes):
        num_train, num_val, num_test = np.bincount(found[labels == k], minlength=3)
        assert num_train >= 1
        assert num_val <= np.ceil(size * 0.1) + 1
        assert num_test <= np.ceil(size * 0.1) + 1
    if min(sizes) >= 8:
        assert abs(np.sum(found == 2) - 0.1 * len(labels)) <= 1
        assert abs(np.sum(found == 1) - 0.1 * len(labels)) <= 1


@given(st.lists(st.integers(1, 60), min_size=3, max_size=40), st.integers(0, 3))
def test_no_group_is_on_two_sides(sizes: list[int], seed: int) -> None:
    keys = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    try:
        found = codes(SplitConfig(method="group:a", seed=seed), len(keys), keys=keys)
    except DataError:  # three rows cannot be split in three
        assert max(sizes) == 1
        return
    assert np.sum(found == 0) >= max(sizes)
    assert all(len(set(found[keys == group])) == 1 for group in range(len(sizes)))
    assert set(found) == {0, 1, 2}
    if len(sizes) >= 20 and max(sizes) < 0.05 * len(keys):
        assert 0.05 < np.mean(found == 2) < 0.15


def test_groups_and_columns_of_a_table(tmp_path: Path) -> None:
    table = frame(240)
    table["artist"] = [f"a{i % 30}" for i in range(240)]
    table["part"] = np.where(np.arange(240) < 200, "train", "test")
    table.to_csv(tmp_path / "t.csv", index=False)
    grouped = converted(tmp_path / "t.csv", tmp_path / "grouped", split="group:artist", drop=("part",))
    owners = [set(table["artist"].iloc[ids(grouped, split)]) for split in SPLITS]
    assert sum(map(len, owners)) == 30
    assert "artist" not in grouped.schema.feature_names
    by_column = converted(tmp_path / "t.csv", tmp_path / "column", split="column:part", drop=("artist",))
    assert ids(by_column, "test").tolist() == list(range(200, 240))
    assert [by_column.num_rows(split) for split in SPLITS] == [180, 20, 40]
    table.loc[7, "part"] = "maybe"
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"line 9, column 8 \('part'\): 'maybe' is no split"):
        converted(tmp_path / "t.csv", tmp_path / "bad", split="column:part", drop=("artist",))


def test_classes_are_stratified_by_default_and_others_drawn(tmp_path: Path) -> None:
    table = pd.DataFrame({"year": ["a", "b", "c", "d"] * 20, "x": np.arange(80.0)})
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = converted(tmp_path / "t.csv", tmp_path / "out")
    assert dataset.metadata["split"] == "stratified"
    assert [dataset.label_counts(split).tolist() for split in SPLITS] == [[16] * 4, [2] * 4, [2] * 4]
    assert codes(SplitConfig(), 50).tolist() != sorted(codes(SplitConfig(), 50))
    with pytest.raises(DataError, match="unknown"):
        codes(SplitConfig(method="alphabetical"), 50)
