"""Columns of texts become categories: which, in what order, and what a text is that training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, new_rows, sections, write_lines

from hvd_train.config import SamplingConfig
from hvd_train.data import Dataset, convert, describe
from hvd_train.data.categories.learning import MAX_CATEGORIES
from hvd_train.data.statistics import MAX_RARITY
from hvd_train.errors import DataError

COLOURS = ("blue", "green", "red")


def table(num_rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """A price, a size, a colour of three and a town that is missing in some rows."""
    rng = np.random.default_rng(seed)
    towns = rng.choice(["Ulm", "Bonn", "Kiel"], num_rows).astype(object)
    towns[rng.random(num_rows) < 0.2] = None
    return pd.DataFrame(
        {
            "price": rng.normal(size=num_rows),
            "colour": rng.choice(COLOURS, num_rows),
            "size": rng.normal(size=num_rows).astype(np.float32),
            "town": towns,
            "part": rng.choice(["train", "val", "test"], num_rows, p=[0.6, 0.2, 0.2]),
        }
    )


def written(rows: pd.DataFrame, path: Path) -> Path:
    rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path, index=False)
    return path


def dataset_of(rows: pd.DataFrame, directory: Path, *, suffix: str = ".csv", **options: Any) -> Dataset:
    path = written(rows, directory / f"rows{suffix}")
    return converted(path, directory / "out", label="price", split="column:part", **options)


def test_a_text_column_becomes_a_column_for_each_category(tmp_path: Path) -> None:
    rows = table()
    dataset = dataset_of(rows, tmp_path)
    schema = dataset.schema
    towns = ("town=Bonn", "town=Kiel", "town=Ulm", "town (missing)")
    assert schema.feature_names == ("colour=blue", "colour=green", "colour=red", "size", *towns)
    assert schema.input_names == ("colour", "size", "town")
    features, _ = all_rows(dataset)
    for i, colour in enumerate(COLOURS):
        assert (features[:, i] == (rows["colour"] == colour)).all()
    assert (features[:, 3] == rows["size"].astype(np.float32)).all()
    assert (features[:, 7] == rows["town"].isna()).all()
    assert (features[:, 4:].sum(axis=1) == 1).all()


def test_every_format_and_order_of_rows_gives_the_same_mapping(tmp_path: Path) -> None:
    rows = table()
    schemas = []
    for name, given, suffix in (
        ("csv", rows, ".csv"),
        ("parquet", rows, ".parquet"),
        ("dictionary", rows.astype({"colour": "category"}), ".parquet"),
        ("reordered", rows.sample(frac=1.0, random_state=1), ".csv"),
    ):
        (tmp_path / name).mkdir()
        schemas.append(dataset_of(given, tmp_path / name, suffix=suffix).schema)
    assert len({schema.text_columns for schema in schemas}) == 1


def test_the_careful_reader_gives_the_same(tmp_path: Path) -> None:
    rows = table()
    fast = dataset_of(rows, tmp_path)
    text = written(rows, tmp_path / "slow.csv").read_text().splitlines()
    cells = text[60].split(",")
    text[60] = ",".join(["+0.5", *cells[1:]]).replace("+0.5", cells[0])
    text[61] = ",".join([*text[61].split(",")[:2], "+" + text[61].split(",")[2].lstrip("-"), *text[61].split(",")[3:]])
    slow = converted(write_lines(tmp_path / "slow.csv", *text), tmp_path / "slow", label="price", split="column:part")
    assert slow.schema == fast.schema
    assert (all_rows(slow)[0][:, [0, 1, 2, 4, 5, 6, 7]] == all_rows(fast)[0][:, [0, 1, 2, 4, 5, 6, 7]]).all()


def test_categories_are_those_of_train_alone(tmp_path: Path) -> None:
    rows = table()
    rows.loc[rows["part"] == "test", "colour"] = "violet"
    rows.loc[rows["part"] == "val", "town"] = "Jena"
    dataset = dataset_of(rows, tmp_path)
    assert dataset.schema.text_columns[0].categories == COLOURS
    assert not dataset.schema.text_columns[0].has_other
    features, _ = all_rows(dataset)
    assert (features[(rows["part"] == "test").to_numpy(), :3] == 0).all()


def test_rare_texts_share_a_column(tmp_path: Path) -> None:
    rows = table(MAX_RARITY * 4)
    rows["part"] = ["train"] * (len(rows) - 20) + ["val"] * 10 + ["test"] * 10
    rows["colour"] = "red"
    rows.loc[:9, "colour"] = "blue"
    rows.loc[10:12, "colour"] = "green"  # three of 1980: fewer than one in five hundred
    rows.loc[len(rows) - 1, "colour"] = "never seen"
    (column, _) = dataset_of(rows, tmp_path).schema.text_columns
    assert (column.categories, column.has_other) == (("blue", "red"), True)
    features, _ = all_rows(Dataset.open(tmp_path / "out"))
    assert (features[10:13, 2] == 1).all()
    assert features[-1, 2] == 1


def test_the_most_frequent_categories_have_columns(tmp_path: Path) -> None:
    rows = table(1200)
    rows["town"] = [f"t{i:02d}" for i in np.random.default_rng(1).integers(0, 100, len(rows))]
    rows["part"] = np.resize(["train", "train", "val", "test", "train"], len(rows))
    train = rows.loc[rows["part"] == "train", "town"].value_counts()
    expected = sorted(sorted(train.index, key=lambda town: (-train[town], town))[:MAX_CATEGORIES])
    column = dataset_of(rows, tmp_path).schema.text_columns[1]
    assert list(column.categories) == expected
    assert column.has_other


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_identifiers_are_refused_all_at_once(tmp_path: Path, suffix: str) -> None:
    rows = table()
    rows["name"] = [f"row {i}" for i in range(len(rows))]
    rows["a note"] = [f"word {i}" for i in range(len(rows))]
    with pytest.raises(
        DataError, match=r"the columns 'name', 'a note' are unlike a category: 'name' has \d+ different"
    ) as caught:
        dataset_of(rows, tmp_path, suffix=suffix)
    assert str(caught.value).endswith("--drop name 'a note'.")
    dataset_of(rows, tmp_path, suffix=suffix, drop=("name", "a note"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_new_rows_have_the_categories_of_the_model(tmp_path: Path, suffix: str) -> None:
    dataset = dataset_of(table(), tmp_path, suffix=suffix)
    rows = pd.DataFrame(
        {"town": ["Bonn", None, "Rome", "7"], "size": [1.0, 2, 3, 4], "colour": ["red", "red", "pink", None]}
    )
    features, _ = new_rows(written(rows, tmp_path / f"new{suffix}"), dataset, with_labels=False)
    assert features.tolist() == [
        [0, 0, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 2, 0, 0, 0, 1],
        [0, 0, 0, 3, 0, 0, 0, 0],
        [0, 0, 0, 4, 0, 0, 0, 0],
    ]


def test_a_text_where_the_model_has_numbers_is_an_error(tmp_path: Path) -> None:
    dataset = dataset_of(table(), tmp_path)
    path = write_lines(tmp_path / "new.csv", "colour,size,town", "red,big,Ulm")
    with pytest.raises(DataError, match=r"line 2, column 2 \('size'\): 'big' stands where a number should be"):
        new_rows(path, dataset, with_labels=False)
    np.savez(tmp_path / "new.npz", features=np.zeros((3, 3)))
    with pytest.raises(DataError, match="trained on texts in the column 'colour', and this table is read as npz"):
        new_rows(tmp_path / "new.npz", dataset, with_labels=False)


def test_numbers_are_categories_where_the_user_says_so(tmp_path: Path) -> None:
    rows = table()
    rows["code"] = np.resize([1, 2, 30], len(rows))
    for suffix in (".csv", ".parquet"):
        (tmp_path / suffix).mkdir()
        dataset = dataset_of(rows, tmp_path / suffix, suffix=suffix, categories=("code",))
        assert dataset.schema.text_columns[-1].categories == ("1", "2", "30")
    new = rows[["colour", "size", "town"]].head(2).assign(code=[2.0, 5.0])
    features, _ = new_rows(written(new, tmp_path / "new.parquet"), dataset, with_labels=False)
    assert features[:, -3:].tolist() == [[0, 1, 0], [0, 0, 0]]
    with pytest.raises(DataError, match="--categories names 'price', which is no feature"):
        dataset_of(rows, tmp_path, categories=("price",))
    np.savez(tmp_path / "t.npz", features=np.zeros((30, 3)), labels=np.arange(30))
    with pytest.raises(DataError, match="--categories is for tables in CSV or Parquet"):
        converted(tmp_path / "t.npz", tmp_path / "npz", categories=("2",))


def test_the_label_is_asked_for_where_texts_may_be_it(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.csv", "size,weight,species", *(f"{i},{i * 2},{'ab'[i % 2]}" for i in range(40)))
    with pytest.raises(DataError, match="which column is the label.* Give --label species or --label size"):
        converted(path, tmp_path / "out")
    assert converted(path, tmp_path / "out", label="species").schema.label_values == ("a", "b")


def test_a_table_of_texts_without_a_header(tmp_path: Path) -> None:
    lines = [f"{COLOURS[i % 3]},{'small' if i % 2 else 'big'},{'ab'[i % 2]}" for i in range(60)]
    dataset = converted(write_lines(tmp_path / "t.csv", *lines), tmp_path / "out", label="-1")
    assert sum(dataset.num_rows(split) for split in ("train", "val", "test")) == 60
    features, _ = new_rows(write_lines(tmp_path / "new.csv", "red,big", "blue,small"), dataset, with_labels=False)
    assert features.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_for_the_test_rows_has_the_categories_of_the_other(tmp_path: Path, suffix: str) -> None:
    rows = table().drop(columns="part")
    test = rows.tail(30).sort_values("colour", ascending=False).replace({"colour": {"blue": "violet"}})
    path, test_path = (
        written(part, tmp_path / f"{name}{suffix}") for name, part in (("a", rows.head(90)), ("b", test))
    )
    dataset = converted(path, tmp_path / "out", label="price", test_path=test_path)
    assert dataset.schema.text_columns[0].categories == COLOURS
    features, _ = all_rows(dataset)
    expected = [[test["colour"].iloc[i] == colour for colour in COLOURS] for i in range(len(test))]
    assert features[90:, :3].tolist() == np.array(expected, float).tolist()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "2", "loud"], "'loud' stands where a number should be.*--categories x"),
        (["0,5", "1,5", "2,5"], "Is it a number in another notation"),
        (["NA", "1", "2"], "Give --missing NA"),
        (["31.12.2026", "1.1.2027", "2.1.2027"], "Is it a date"),
    ],
)
def test_what_is_no_category_still_is_an_error(tmp_path: Path, cells: list[str], message: str) -> None:
    lines = [f'{i},"{cells[i % 3]}"' if i < 3 else f'{i},"{cells[1]}"' for i in range(40)]
    with pytest.raises(DataError, match=message):
        converted(write_lines(tmp_path / "t.csv", "y,x", *lines), tmp_path / "out", label="y")


def test_texts_that_begin_late_are_read(tmp_path: Path) -> None:
    lines = [f"{i},{'' if i < 150 else COLOURS[i % 3]}" for i in range(300)]
    dataset = converted(write_lines(tmp_path / "t.csv", "y,x", *lines), tmp_path / "out", label="y", split="sequential")
    column = dataset.schema.text_columns[0]
    assert (column.categories, column.has_missing) == (COLOURS, True)
    assert (all_rows(dataset)[0][:150, 3] == 1).all()


def test_a_row_of_texts_is_no_header(tmp_path: Path) -> None:
    told: list[str] = []
    path = write_lines(tmp_path / "t.csv", *(f"{COLOURS[i % 3]},{'ab'[i % 2]}" for i in range(60)))
    convert(path, tmp_path / "out", *sections(label="2"), report=told.append)
    assert "the first line is taken for a row, since 'a' stands below it, too: --header yes if it is none" in told


def test_common_markers_are_missing_values_where_the_user_says_so(tmp_path: Path) -> None:
    """In features of every kind, by the fast reader and the careful one, in new rows too; never in the label."""
    marks = ("NA", "?", "nan", "null", "None", "-", "n/a")
    lines = [
        f"{('NA', 'b')[i % 2]},{marks[i % 7] if i % 5 == 0 else i},{marks[i % 7] if i % 4 == 0 else COLOURS[i % 3]},"
        f"{'?' if i % 6 == 0 else ('yes', 'no')[i % 2]}"
        for i in range(140)
    ]
    path = write_lines(tmp_path / "t.csv", "y,number,colour,asked", *lines)
    with pytest.raises(DataError, match="'NA' stands where a number should be.*Give --missing NA"):
        converted(path, tmp_path / "out", label="y")
    dataset = converted(path, tmp_path / "out", label="y", missing_in_features="common")
    assert dataset.schema.label_values == ("NA", "b")
    assert dataset.schema.text_columns[0].categories == COLOURS
    expected = [[i % 5 == 0, i % 4 == 0, i % 6 == 0] for i in range(140)]
    features, _ = all_rows(dataset)
    assert (np.isnan(features[:, 0]) == [row[0] for row in expected]).all()
    assert (features[:, 4] == [row[1] for row in expected]).all()
    assert (np.isnan(features[:, 5]) == [row[2] for row in expected]).all()
    careful = write_lines(
        tmp_path / "careful.csv", "y,number,colour,asked", lines[0].replace("yes", "no"), "b,+1,red,no", *lines
    )
    assert np.array_equal(new_rows(careful, dataset, with_labels=False)[0][2:], features, equal_nan=True)


def test_booleans_with_a_third_answer_are_texts(tmp_path: Path) -> None:
    lines = [f"{i},{('yes', 'no', 'not asked')[i % 3]}" for i in range(60)]
    dataset = converted(write_lines(tmp_path / "t.csv", "y,x", *lines), tmp_path / "out", label="y")
    assert dataset.schema.text_columns[0].categories == ("no", "not asked", "yes")


def test_the_description_names_the_categories(tmp_path: Path) -> None:
    rows = table()
    text = describe(dataset_of(rows, tmp_path), SamplingConfig())
    count = int(((rows["part"] == "train") & (rows["colour"] == "red")).sum())
    assert "Categories of colour in the train split; any other text is 0 in all of its columns" in text
    assert any(line.split()[:2] == ["red", str(count)] for line in text.splitlines())


def test_a_changed_mapping_is_another_checksum_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    dataset = dataset_of(table(), tmp_path)
    (tmp_path / "other").mkdir()
    other = dataset_of(table().replace({"colour": {"red": "rot"}}), tmp_path / "other")
    assert dataset.checksum != other.checksum
    path = tmp_path / "out" / "metadata.json"
    path.write_text(path.read_text().replace('"red"', '"rot"'))
    with pytest.raises(DataError, match="changed since it was written"):
        Dataset.open(tmp_path / "out")
