"""Damaged and forged metadata.json and label_counts.npy: refused by DataError, or read as they were written."""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from fuzzing import change_document, damaged, flip_within, fuzz, require_clear

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data import Dataset, convert
from hvd_train.data.dataset import metadata_checksum
from hvd_train.data.metadata import digest
from hvd_train.errors import DataError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    rows = "".join(f"{1990 + i % 5},{rng.normal():.3f},{rng.normal():.3f}\n" for i in range(60))
    (folder / "t.csv").write_text("year,a,b\n" + rows)
    return convert(folder / "t.csv", folder / "set", TableConfig(), SplitConfig(num_virtual_shards=2))


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def opened(directory: Path) -> Dataset | None:
    """The dataset with everything looked at that metadata.json says; None where it was refused."""
    try:
        dataset = Dataset.open(directory)
        dataset.table_format  # noqa: B018
    except DataError as error:
        require_clear(error, directory)
        return None
    assert dataset.schema.num_features == len(dataset.statistics.mean) == len(dataset.statistics.constant)
    assert all(dataset.shard_sizes(s).sum() == dataset.num_rows(s) for s in ("train", "val", "test"))
    assert all(len(dataset.label_counts(s)) == len(dataset.schema.label_values) for s in ("train", "val", "test"))
    assert all(".." not in name and not name.startswith("/") for name in dataset.metadata["files"])
    assert np.isfinite(list((dataset.optimum("test") or {}).values())).all()
    return dataset


def test_damaged_bytes(directory: Path) -> None:
    path = directory / "metadata.json"
    good = path.read_bytes()
    written = Dataset.open(directory).metadata

    def check(data: bytes) -> str:
        path.write_bytes(data)
        dataset = opened(directory)
        assert dataset is None or dataset.metadata == written, "read as something else than what was written"
        return "refused" if dataset is None else "read equal"

    fuzz("metadata-bytes", damaged(good), check, suffix=".json")


def test_forged_documents(directory: Path) -> None:
    """Checksums are right, and the rest says something else: refused, or of the right types throughout."""
    path = directory / "metadata.json"
    good = json.loads(path.read_text())

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.02:
            return rng.choice([b'{"a":' * 100_000, b"[" * 100_000, b"\xff\xfe", b"null", b"9" * 5000])
        document = copy.deepcopy(good)
        for _ in range(rng.choice([1, 1, 2, 4])):
            change_document(rng, document)
        try:
            document["checksum"] = metadata_checksum(document)
            document["digest"] = digest(document)
        except ValueError:  # NaN has no checksum
            pass
        return json.dumps(document).encode()

    def check(data: bytes) -> str:
        path.write_bytes(data)
        return "refused" if opened(directory) is None else "read"

    fuzz("metadata-documents", make, check, suffix=".json")


def test_label_counts(directory: Path) -> None:
    path = directory / "train/label_counts.npy"
    good = path.read_bytes()
    dataset = Dataset.open(directory)
    written = dataset.shard_label_counts()
    headers = flip_within(good, b"\x93NUMPY", reach=128)

    def check(data: bytes) -> str:
        path.write_bytes(data)
        try:
            counts = dataset.shard_label_counts()
        except DataError as error:
            require_clear(error, path)
            return "refused"
        assert counts.tobytes() == written.tobytes()
        return "read equal"

    fuzz("label-counts", damaged(good, headers), check, suffix=".npy")
