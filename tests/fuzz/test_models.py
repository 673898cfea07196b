"""Damaged model.keras, beside a whole data.json: refused, or it says the same to the last bit. Needs Keras."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from fuzzing import change_document, damaged, flip_within, fuzz, require_clear

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras")

import numpy as np  # noqa: E402

from hvd_train.data.schema import Schema  # noqa: E402
from hvd_train.errors import CheckpointError  # noqa: E402
from hvd_train.evaluation.output_spec import OutputSpec  # noqa: E402
from hvd_train.files import strict  # noqa: E402
from hvd_train.inference.export import load_trained, save_model  # noqa: E402
from hvd_train.runs.directory import RunDir  # noqa: E402

ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
SCHEMA = Schema(
    feature_names=("a", "b", "c"), label_name="kind", label_kind="classes", label_values=("x", "y"), layout=(3, 1),
    source_columns=("kind", "a", "b", "c"),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    from hvd_train.data import TableFormat

    rows = keras.Input((3,), name="rows")
    said = keras.layers.Dense(2)(keras.layers.Dense(4, activation="relu")(rows))
    whole = keras.Model(rows, keras.layers.Activation("linear", name="outputs")(said))
    dataset = SimpleNamespace(
        schema=SCHEMA, table_format=TableFormat(), checksum="abc", num_rows=lambda _: 9,
        label_counts=lambda _: np.array([4, 5]), statistics=None,
    )  # fmt: skip
    run_dir = RunDir(tmp_path_factory.mktemp("run"))
    save_model(whole, OutputSpec.of("classes", ("x", "y")), dataset, run_dir)  # type: ignore[arg-type]
    return run_dir


def said(run: RunDir) -> bytes | None:
    """What the model says of ROWS; None where it was refused."""
    try:
        trained = load_trained(run)
    except CheckpointError as error:
        require_clear(error, run.model)
        return None
    numbers = np.asarray(trained.model(ROWS)).tobytes()
    keras.backend.clear_session()
    return numbers


def without_checksums(run: RunDir) -> None:
    """data.json as version 0.1 wrote it, so that the model's own checks are on trial."""
    document = json.loads(run.data.read_text())
    for key in ("digest", "model_sha256", "table_format"):
        document.pop(key, None)
    run.data.write_text(json.dumps(document))


@pytest.mark.parametrize("age", ["new", "0.1"])
def test_damaged_bytes(run: RunDir, tmp_path: Path, age: str) -> None:
    copied = RunDir(tmp_path)
    good = run.model.read_bytes()
    copied.data.write_bytes(run.data.read_bytes())
    expected = said(run)
    assert expected is not None
    if age == "0.1":
        without_checksums(copied)
    members = flip_within(good, b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", reach=60)

    def check(data: bytes) -> str:
        copied.model.write_bytes(data)
        found = said(copied)
        assert found is None or found == expected, "it says something else than what was saved"
        return "refused" if found is None else "equal"

    fuzz(f"model-bytes-{age}", damaged(good, members), check, suffix=".keras")


def test_forged_configurations(run: RunDir, tmp_path: Path) -> None:
    """config.json says something else, under right CRCs: refused in words, or another model of the same shapes."""
    copied = RunDir(tmp_path)
    copied.data.write_bytes(run.data.read_bytes())
    without_checksums(copied)
    with zipfile.ZipFile(run.model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def make(rng: random.Random) -> bytes:
        document = json.loads(members["config.json"])
        for _ in range(rng.choice([1, 1, 2])):
            change_document(rng, document)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, json.dumps(document) if name == "config.json" else content)
        return buffer.getvalue()

    def check(data: bytes) -> str:
        copied.model.write_bytes(data)
        found = said(copied)
        assert found is None or len(found) == 5 * 2 * 4
        return "refused" if found is None else "read"

    fuzz("model-config", make, check, suffix=".keras")


def test_a_whole_file_that_keras_cannot_load_is_not_called_damaged(run: RunDir, tmp_path: Path) -> None:
    copied = RunDir(tmp_path)
    copied.model.write_bytes(b"of a later version")
    document = json.loads(run.data.read_text())
    from hvd_train.data.dataset import file_sha256

    document["model_sha256"] = file_sha256(copied.model)
    document["digest"] = strict.digest(document, without=("digest",))
    copied.data.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"the file is whole, but it cannot be loaded here .*version of Keras"):
        load_trained(copied)
