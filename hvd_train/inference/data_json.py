"""data.json: what a run's model.keras reads and what its outputs mean. It is read exactly as it was written, or refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Union

from hvd_train.config import is_reference
from hvd_train.data import Dataset, Schema, TableFormat, file_sha256
from hvd_train.evaluation import OutputSpec
from hvd_train.files import strict
from hvd_train.models import OBJECTIVES, ValueObjective

# A model's weights are not compressed; what grows by more than this was not written by Keras.
MOST_GROWTH = 100


class _Sometimes(TypedDict, total=False):
    """What runs of version 0.1 do not have."""

    table_format: dict[str, Any]
    model_sha256: str
    custom_objects: dict[str, str]
    """References of the user's own layers and functions in the model; mostly not there."""
    digest: str


class Note(_Sometimes):
    """The document. `strict.digest` protects each digit of it."""

    schema: dict[str, Any]
    checksum: str
    """Of the data."""
    train_rows: int
    train_counts: list[int]
    label_mean: Union[float, None]  # noqa: UP007
    label_median: Union[float, None]  # noqa: UP007
    label_std: Union[float, None]  # noqa: UP007
    says_value_by: Union[str, None]  # noqa: UP007
    huber_delta: float


def note_of(spec: OutputSpec, dataset: Dataset, model: Path, custom_objects: Mapping[str, str]) -> dict[str, Any]:
    """The document of this model file. Raises OSError."""
    is_values = dataset.schema.label_kind == "values"
    document: dict[str, Any] = {
        "schema": dataset.schema.to_json(),
        "table_format": dataset.table_format.to_json(),
        "checksum": dataset.checksum,
        "train_rows": dataset.num_rows("train"),
        "train_counts": [] if is_values else dataset.label_counts("train").tolist(),
        "label_mean": dataset.statistics.label_mean if is_values else None,
        "label_median": dataset.statistics.label_median if is_values else None,
        "label_std": dataset.statistics.label_std if is_values else None,
        "says_value_by": spec.point_loss,
        "huber_delta": spec.delta,
        "model_sha256": file_sha256(model),
    }
    if custom_objects:
        document["custom_objects"] = dict(custom_objects)
    return document | {"digest": strict.digest(document)}


def read_note(path: Path) -> Note:
    """The document in `path`, with all fields consistent. Raises any exception where it is damaged."""
    document = strict.loads(path.read_text(encoding="utf-8"))
    note: Note = strict.read(Note, document, "it")
    later = {"table_format", "model_sha256", "custom_objects", "digest"} & note.keys()
    if later and note.get("digest") != strict.digest(document, without=("digest",)):
        raise strict.Damaged("it has been changed since it was written")
    schema = Schema.from_json(note["schema"])
    TableFormat.from_json(note.get("table_format", {}))
    counts, num_rows = note["train_counts"], note["train_rows"] if schema.label_values else 0
    if len(counts) != len(schema.label_values) or min(counts, default=0) < 0 or sum(counts) != num_rows:
        raise strict.Damaged("train_counts are not those of its labels")
    loss = note["says_value_by"]
    if loss is not None and not is_reference(loss) and not isinstance(OBJECTIVES.get(loss), ValueObjective):
        raise strict.Damaged(f"says_value_by is {loss!r}")
    return note


def require_whole(model: Path, note: Note) -> None:
    """Raise strict.Damaged, or another error, unless the model's file is the one that was written with the note."""
    if "model_sha256" in note:
        if file_sha256(model) != note["model_sha256"]:
            raise strict.Damaged("its sha256 is not the one that was written with data.json")
        return
    with zipfile.ZipFile(model) as archive:
        size = sum(info.file_size for info in archive.infolist())
        if size > MOST_GROWTH * model.stat().st_size:
            raise strict.Damaged("its members are longer than they can be")
        damaged = archive.testzip()
    if damaged is not None:
        raise strict.Damaged(f"the CRC of {damaged!r} is wrong")
