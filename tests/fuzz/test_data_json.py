"""Damaged and forged data.json: refused, or read as it was written."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
from fuzzing import change_document, damaged, fuzz, require_clear

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data import Dataset, Schema, TableFormat, convert
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.files import strict
from hvd_train.inference.data_json import note_of, read_note


@pytest.fixture(scope="module", params=["years", "values"])
def document(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    rows = "".join(f"{1990 + i % 5},{rng.normal():.3f},{rng.normal():.3f}\n" for i in range(60))
    (folder / "t.csv").write_text("year,a,b\n" + rows)
    config = TableConfig(label_kind=request.param)
    dataset = Dataset.open(convert(folder / "t.csv", folder / "set", config, SplitConfig(num_virtual_shards=2)))
    labels = OutputSpec.of(dataset.schema.label_kind, dataset.schema.label_values)
    (folder / "model.keras").write_bytes(b"model")
    return json.loads(json.dumps(note_of(labels, dataset, folder / "model.keras", {})))  # type: ignore[no-any-return]


def read(path: Path, data: bytes) -> object:
    """None where it was refused, by an error that fits into a message."""
    path.write_bytes(data)
    try:
        note = read_note(path)
    except Exception as error:
        require_clear(ValueError(strict.damage(path, error, "")), path)
        return None
    schema = Schema.from_json(note["schema"])
    assert len(note["train_counts"]) == len(schema.label_values)
    TableFormat.from_json(note.get("table_format", {}))
    OutputSpec.of(schema.label_kind, schema.label_values, note["says_value_by"] or "", delta=note["huber_delta"])
    return note


def test_damaged_bytes(document: dict[str, object], tmp_path: Path) -> None:
    good = json.dumps(document, indent=2).encode()

    def check(data: bytes) -> str:
        note = read(tmp_path / "data.json", data)
        assert note is None or note == document, "read as something else than what was written"
        return "refused" if note is None else "read equal"

    fuzz("data-json-bytes", damaged(good), check, suffix=".json")


@pytest.mark.parametrize("age", ["new", "0.1"])
def test_forged_documents(document: dict[str, object], tmp_path: Path, age: str) -> None:
    """With a right digest, or from the version that wrote none."""

    def make(rng: random.Random) -> bytes:
        forged = copy.deepcopy(document)
        if age == "0.1":
            for key in ("digest", "model_sha256", "table_format"):
                forged.pop(key)
        for _ in range(rng.choice([1, 1, 2, 4])):
            change_document(rng, forged)
        if age == "new":
            with contextlib.suppress(ValueError):  # NaN has no checksum
                forged["digest"] = strict.digest(forged, without=("digest",))
        return json.dumps(forged).encode()

    def check(data: bytes) -> str:
        return "refused" if read(tmp_path / "data.json", data) is None else "read"

    fuzz(f"data-json-{age}", make, check, suffix=".json")
