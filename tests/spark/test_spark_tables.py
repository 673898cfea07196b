"""DataFrames that are no tables to train on, on a real cluster: each is refused by the message that a file gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spark_cluster import Cluster, submitted

from hvd_train.data import Dataset

SAYS = {
    "null label": ("the DataFrame, row 251 in the order of id, column 1 ('year')", "the label is missing"),
    "infinite": ("row 251 in the order of id, column 3 ('x2')", "infinite"),
    "text": ("the column 'x2' is unlike a category", "--drop x2"),
    "texts may be the label": ("which column is the label?", "--label x2"),
    "nested": ("column 3 ('x2')", "Nested columns are not read"),
    "array of another length": ("row 251", "the array in 'a' holds 1 values, but that of another row 2"),
    "array of arrays": ("Nested columns are not read",),
    "map": ("not a number",),
    "label is a struct": ("column 1 ('year')", "A label or a group is one number or one text"),
    "label is an identifier": ("this looks like an identifier",),
    "one class": ("all 400 rows have the same label in column 1 ('year')", "nothing to learn"),
    "empty": ("the DataFrame: it holds no rows",),
    "no columns": ("the DataFrame: it has no columns",),
    "one column": ("no column is left for the features",),
    "unknown order": ("order_by = 'when' is not possible", "year, x1, x2, x3, id"),
    "too few rows": ("2 rows are too few",),
    "songs without an order": ("split by their order", "order_by="),
    "more ranks than slots": ("MissingEnvironment", "num_proc = 64, but Spark has 2 task slots", "--executor-cores"),
    "no ranks": ("num_proc = 0",),
    "unknown engine": ("engine = 'gloo'", '"horovod" or "tensorflow"'),
}


@pytest.fixture(scope="module")
def said(spark: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    folder = tmp_path_factory.mktemp("refused")
    finished = submitted(spark, "refused.py", folder)
    documents = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    return {document["name"]: document["says"] for document in documents}, folder


@pytest.mark.parametrize("name", SAYS)
def test_it_is_refused_in_words(said: tuple[dict[str, str], Path], name: str) -> None:
    for part in SAYS[name]:
        assert part in said[0][name]
    assert "Exception" not in said[0][name]


def test_decimals_booleans_times_vectors_and_nulls_are_read(said: tuple[dict[str, str], Path]) -> None:
    dataset = Dataset.open(said[1] / "mixed")
    assert dataset.schema.feature_names == ("v_1", "v_2", "d", "b", "t", "n")
    assert dataset.schema.feature_kinds == ("number", "number", "number", "boolean", "date", "number")
    assert sum(dataset.num_rows(split) for split in ("train", "val", "test")) == 300
    rows = dataset.load("train", range(dataset.num_virtual_shards))
    assert 0 < int((rows.features[:, 5] != rows.features[:, 5]).sum()) < 40


def test_without_an_order_the_partitions_decide_nothing(said: tuple[dict[str, str], Path]) -> None:
    assert Dataset.open(said[1] / "again").checksum == Dataset.open(said[1] / "other").checksum
