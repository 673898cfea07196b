"""A dataset's metadata.json and label counts are read right or refused, whatever stands in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import frame, sections

from hvd_train.cli import data_verbs
from hvd_train.data import Dataset, convert
from hvd_train.data.dataset import metadata_checksum
from hvd_train.data.metadata import digest
from hvd_train.errors import DataError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    frame(60).to_csv(tmp_path / "t.csv", index=False)
    return convert(tmp_path / "t.csv", tmp_path / "set", *sections(num_virtual_shards=2))


def forge(directory: Path, change: Callable[[Any], object]) -> None:
    """Change the document and make its checksums right again."""
    path = directory / "metadata.json"
    document = json.loads(path.read_text())
    change(document)
    document["checksum"] = metadata_checksum(document)
    document["digest"] = digest(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("schema"), "it has no 'schema'"),
        (lambda d: d["schema"].pop("layout"), "schema has no 'layout'"),
        (lambda d: d["schema"].update(layout=[7, 1]), "layout 7 x 1"),
        (lambda d: d["schema"].update(label_kind="ages"), "schema.label_kind is none of"),
        (lambda d: d["schema"].update(label_values=["a", "b"]), "label_values"),
        (lambda d: d["schema"].update(colour="red"), "unknown entry 'colour'"),
        (lambda d: d["statistics"]["mean"].pop(), "statistics.mean has 4 entries instead of 5"),
        (lambda d: d["statistics"].update(constant=[0] * 5), "statistics.constant holds something else"),
        (lambda d: d.update(num_virtual_shards=10**9), "num_virtual_shards is 1000000000"),
        (lambda d: d["splits"]["val"].update(num_rows=-1), "splits.val.shard_sizes"),
        (lambda d: d["splits"].pop("test"), "the splits train, val"),
        (lambda d: d["files"].update({"../../etc/hostname": {"bytes": 3, "sha256": "0"}}), "etc/hostname' is no part"),
        (lambda d: d["files"].update({"/etc/hostname": {"bytes": 3, "sha256": "0"}}), "etc/hostname' is no part"),
        (lambda d: d["files"].pop("val/00001.npy"), "'val/00001.npy' is missing among its files"),
        (lambda d: d["source"]["table_format"].update(header=3), "header = 3"),
    ],
)  # fmt: skip
def test_a_forged_document_is_refused_naming_the_entry(directory: Path, change: Any, says: str) -> None:
    forge(directory, change)
    with pytest.raises(DataError, match="metadata.json: this file is damaged") as raised:
        Dataset.open(directory)
    assert says in str(raised.value)
    assert "Convert the table again." in str(raised.value)


def test_nothing_of_a_foreign_dataset_is_read_outside_of_it(directory: Path) -> None:
    """`data check` printed the sha256 of any file that a foreign metadata.json named."""
    forge(directory, lambda d: d["files"].update({"../../etc/hostname": {"bytes": 3, "sha256": "0"}}))
    with pytest.raises(DataError, match="is no part of a dataset"):
        data_verbs.check(data_verbs.CheckArguments(directory=directory))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NaN", "NaN stands in it"),
        ("1e999", "not JSON compliant"),
        ("[" * 100_000, "RecursionError"),
        ("9" * 5000, "ValueError"),
    ],
)
def test_odd_json_is_one_message(directory: Path, text: str, says: str) -> None:
    path = directory / "metadata.json"
    path.write_text(path.read_text().replace('"num_rows": ', f'"num_rows": {text}, "x": ', 1))
    with pytest.raises(DataError, match="metadata.json: this file is damaged") as raised:
        Dataset.open(directory)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_digit_outside_the_checksum_is_protected_too(directory: Path) -> None:
    """The checksum leaves out where the rows came from; the digest leaves out nothing."""
    path = directory / "metadata.json"
    document = json.loads(path.read_text())
    document["source"]["bytes"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="changed since it was written"):
        Dataset.open(directory)


def test_label_counts_are_read_to_their_last_bit(directory: Path) -> None:
    dataset = Dataset.open(directory)
    path = directory / "train/label_counts.npy"
    good = path.read_bytes()
    assert (dataset.shard_label_counts().sum(0) == dataset.label_counts("train")).all()
    for position in (6, 20, 70, 90, len(good) - 4):
        flipped = bytearray(good)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(DataError, match="label_counts.npy: this file is damaged"):
            dataset.shard_label_counts()
    np.save(path, np.zeros(3))
    with pytest.raises(DataError, match="label_counts.npy: this file is damaged"):
        dataset.shard_label_counts()
