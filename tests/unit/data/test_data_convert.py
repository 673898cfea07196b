"""Conversion: statistics, splits, shards, checksums, and directories that are whole or not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, frame, sections
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.config import SPLITS, SplitConfig, TableConfig
from hvd_train.data import Dataset, convert
from hvd_train.data.conversion.shard_files import ShardAssignment
from hvd_train.data.statistics import RunningStatistics
from hvd_train.errors import DataError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame(400).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def test_statistics_equal_numpy_on_the_train_split(table: Path, tmp_path: Path) -> None:
    dataset = converted(table, tmp_path / "out")
    features = dataset.load("train", range(dataset.num_virtual_shards)).features.astype(np.float64)
    statistics = dataset.statistics
    np.testing.assert_allclose(statistics.mean, np.nanmean(features, 0), rtol=1e-6)
    np.testing.assert_allclose(statistics.std, np.nanstd(features, 0), rtol=1e-6)
    assert np.array_equal(statistics.num_missing, np.isnan(features).sum(0))
    assert np.array_equal(statistics.minimum, np.nanmin(features, 0))
    assert not statistics.constant.any()


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=6), st.floats(1e7, 1e8), st.floats(8, 200), st.integers(0, 99)
)
def test_small_spreads_on_large_values_survive_merging(sizes: list[int], at: float, spread: float, seed: int) -> None:
    blocks = [
        np.random.default_rng([seed, i]).normal(at, spread, (n, 3)).astype(np.float32) for i, n in enumerate(sizes)
    ]
    running = RunningStatistics(3)
    for block in blocks:
        running.add(block)
    whole = np.concatenate(blocks).astype(np.float64)
    np.testing.assert_allclose(running.result().mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(running.result().std, whole.std(0), rtol=1e-6, atol=1e-9)


def test_constant_and_missing_columns_are_recorded_and_told(tmp_path: Path) -> None:
    table = frame(100)
    table["f0"], table["f2"] = 0.1, np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    told: list[str] = []
    dataset = Dataset.open(convert(tmp_path / "t.csv", tmp_path / "out", *sections(), report=told.append))
    statistics = dataset.statistics
    assert statistics.constant.tolist() == [True, False, True, False, False]
    assert (statistics.mean[0], statistics.std[0]) == (np.float32(0.1), 0.0)
    assert (statistics.mean[2], statistics.std[2], statistics.num_missing[2]) == (0, 0, dataset.num_rows("train"))
    assert any("2 of 5 columns are constant in train: f0, f2" in line for line in told)
    assert any("cells are missing" in line for line in told)


def test_columns_that_float32_holds_badly_are_told(tmp_path: Path) -> None:
    table = frame(100)
    rng = np.random.default_rng(0)
    table["f0"], table["f3"] = 1e8 + rng.normal(0, 10, 100), 1e8 + rng.normal(0, 1e4, 100)
    table.to_csv(tmp_path / "t.csv", index=False)
    told: list[str] = []
    dataset = Dataset.open(convert(tmp_path / "t.csv", tmp_path / "out", *sections(), report=told.append))
    assert [line for line in told if "precision" in line and "f0" in line and "f3" not in line]
    stored = dataset.load("train", range(dataset.num_virtual_shards)).features.astype(np.float64)
    np.testing.assert_allclose(dataset.statistics.std[[0, 3]], stored.std(0)[[0, 3]], rtol=1e-6)
    np.testing.assert_allclose(dataset.statistics.mean[[0, 3]], stored.mean(0)[[0, 3]], rtol=1e-12)


def test_values_have_label_statistics(tmp_path: Path) -> None:
    table = frame(100).rename(columns={"year": "price"})
    table["price"] = np.random.default_rng(0).normal(1e4, 1, 100)
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = converted(tmp_path / "t.csv", tmp_path / "out")
    labels = table["price"].to_numpy().astype(np.float32).astype(np.float64)
    labels = labels[dataset.load("train", range(dataset.num_virtual_shards)).row_ids]
    statistics = dataset.statistics
    assert statistics.label_mean == pytest.approx(labels.mean(), rel=1e-9)
    assert statistics.label_std == pytest.approx(labels.std(), rel=1e-6)
    assert statistics.label_median == pytest.approx(np.median(labels), rel=1e-9)


def test_shards_hold_every_row_once_and_sizes_differ_by_at_most_one(table: Path, tmp_path: Path) -> None:
    dataset = converted(table, tmp_path / "out", num_virtual_shards=12)
    ids = []
    for split in SPLITS:
        sizes = dataset.shard_sizes(split)
        assert len(sizes) == 12
        assert sizes.max() - sizes.min() <= 1
        rows = dataset.load(split, range(12))
        assert np.array_equal(np.diff([*rows.shard_starts, len(rows.labels)]), sizes)
        assert np.array_equal(np.bincount(rows.labels, minlength=20), dataset.label_counts(split))
        ids.append(rows.row_ids)
        assert np.array_equal(
            rows.features[rows.shard_starts[5] :][: sizes[5]], dataset.load(split, [5]).features, equal_nan=True
        )
    assert sorted(np.concatenate(ids)) == list(range(400))
    counts = np.array([np.bincount(dataset.load("train", [v]).labels, minlength=20) for v in range(12)])
    assert np.array_equal(dataset.shard_label_counts(), counts)


@given(st.integers(0, 500), st.integers(1, 70), st.lists(st.integers(0, 90), max_size=12))
def test_the_shard_of_a_row_does_not_depend_on_how_rows_come(num_rows: int, num_shards: int, blocks: list[int]) -> None:
    whole = ShardAssignment(0, 0, num_rows, num_shards)
    expected = whole.next(num_rows)
    assert np.array_equal(
        np.bincount(expected, minlength=num_shards), ShardAssignment(0, 0, num_rows, num_shards).sizes()
    )
    assigned, assignment, left = [], ShardAssignment(0, 0, num_rows, num_shards), num_rows
    for block in [*blocks, num_rows]:
        assigned.append(assignment.next(min(block, left)))
        left -= min(block, left)
    assert np.array_equal(np.concatenate(assigned), expected)


def test_the_same_table_and_options_give_the_same_checksum_and_others_another(table: Path, tmp_path: Path) -> None:
    first = converted(table, tmp_path / "first")
    (tmp_path / "elsewhere.txt").write_bytes(table.read_bytes())
    assert converted(tmp_path / "elsewhere.txt", tmp_path / "second").checksum == first.checksum
    assert converted(table, tmp_path / "third", split_seed=1).checksum != first.checksum
    assert converted(table, tmp_path / "fourth", drop=("f0",)).checksum != first.checksum


def test_the_size_of_blocks_does_not_matter(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = converted(table, tmp_path / "whole", split="random", num_virtual_shards=6)
    monkeypatch.setattr(sys.modules["hvd_train.data.conversion.spill"], "BLOCK_BYTES", 500)
    monkeypatch.setattr(sys.modules["hvd_train.data.sources.csv"], "BLOCK_BYTES", 700)
    monkeypatch.setattr(sys.modules["hvd_train.data.sources.csv"], "MIN_BLOCK_ROWS", 1)
    pieces = converted(table, tmp_path / "pieces", split="random", num_virtual_shards=6)
    for split in SPLITS:
        for name in ("features", "labels", "row_ids"):
            expected, found = (getattr(d.load(split, range(6)), name) for d in (whole, pieces))
            assert np.array_equal(found, expected, equal_nan=name == "features"), (split, name)
    np.testing.assert_allclose(pieces.statistics.mean, whole.statistics.mean, rtol=1e-12)
    np.testing.assert_allclose(pieces.statistics.std, whole.statistics.std, rtol=1e-12)


def test_damage_is_found_and_named(table: Path, tmp_path: Path) -> None:
    dataset = converted(table, tmp_path / "out")
    assert dataset.find_damage() == []
    shard = tmp_path / "out/val/00003.npy"
    content = bytearray(shard.read_bytes())
    content[-20] ^= 1
    shard.write_bytes(content)
    damaged = Dataset.open(tmp_path / "out")
    assert [line.split(":")[0] for line in damaged.find_damage()] == ["val/00003.npy"]
    # Nobody trains on it, or on another row of it.
    with pytest.raises(
        DataError, match=r"val/00003.npy: this file is damaged \(its sha256 .*Delete .*out and convert the table again"
    ):
        damaged.load("val", [3])
    damaged.load("val", [0, 1, 2])
    shard.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"val/00003.npy has \d+ bytes"):
        Dataset.open(tmp_path / "out")
    shard.unlink()
    with pytest.raises(DataError, match="val/00003.npy is missing"):
        Dataset.open(tmp_path / "out")


def test_changed_metadata_is_noticed(table: Path, tmp_path: Path) -> None:
    converted(table, tmp_path / "out")
    path = tmp_path / "out/metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"num_virtual_shards": 1}))
    with pytest.raises(DataError, match="changed since it was written"):
        Dataset.open(tmp_path / "out")
    path.write_text(json.dumps(metadata | {"conversion_version": 0}))
    with pytest.raises(DataError, match="version 0 of the conversion"):
        Dataset.open(tmp_path / "out")
    path.write_text("{")
    with pytest.raises(DataError, match="damaged"):
        Dataset.open(tmp_path / "out")
    with pytest.raises(DataError, match="no dataset directory"):
        Dataset.open(tmp_path)


def test_a_dataset_is_replaced_by_force_alone_and_nothing_else_ever(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = converted(table, out).checksum
    with pytest.raises(DataError, match="--force"):
        convert(table, out, *sections(split_seed=5))
    assert Dataset.open(out).checksum == first
    convert(table, out, *sections(split_seed=5), force=True)
    assert Dataset.open(out).checksum != first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="something else"):
        convert(table, tmp_path / "mine", *sections(), force=True)
    (tmp_path / "empty").mkdir()
    convert(table, tmp_path / "empty", *sections())
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "out", "mine", "empty"}


def test_a_failed_conversion_leaves_nothing(table: Path, tmp_path: Path) -> None:
    table.write_text(table.read_text() + "oops,1,2,3,4,5\n")
    with pytest.raises(DataError, match="line 402"):
        converted(table, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_labels_of_splits_stay_with_their_rows(table: Path, tmp_path: Path) -> None:
    dataset = converted(table, tmp_path / "out")
    years = pd.read_csv(table)["year"].to_numpy()
    for split in SPLITS:
        rows = dataset.load(split, range(dataset.num_virtual_shards))
        assert np.array_equal(np.array(dataset.schema.label_values)[rows.labels], years[rows.row_ids])
    assert np.array_equal(all_rows(dataset)[1] + 1990, years)


def test_a_table_that_grows_while_it_is_read(table: Path, tmp_path: Path) -> None:
    def grow(done: int, total: int) -> None:
        with table.open("a") as file:
            file.write(table.read_text().splitlines()[-1] + "\n")

    with pytest.raises(DataError, match="was changed while it was read"):
        convert(table, tmp_path / "out", TableConfig(), SplitConfig(), progress=grow)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
