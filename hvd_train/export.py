"""The best model as one .keras file, and what its outputs mean. Read back by `evaluate` and `predict`."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_train.data import Dataset, Schema
from hvd_train.errors import CheckpointError
from hvd_train.metrics import Baseline, Labels
from hvd_train.models.heads import OUTPUTS_LAYER
from hvd_train.rundir import RunDir, write_json


@dataclass(frozen=True)
class Trained:
    """A finished run, ready for rows: `model` gives logits (N, K) or values (N, 1)."""

    model: Any
    schema: Schema
    labels: Labels
    train_counts: np.ndarray
    label_mean: float
    label_median: float

    @property
    def baseline(self) -> Baseline:
        return Baseline.of(self.labels, self.train_counts)


def save_model(model: Any, dataset: Dataset, run_dir: RunDir) -> None:
    """Write model.keras (rows in, probabilities or values out; opens with plain Keras) and data.json. Root only."""
    outputs = model.get_layer(OUTPUTS_LAYER).output
    if dataset.schema.label_kind != "values":
        outputs = keras.layers.Activation("softmax", name="probabilities")(outputs)
    else:
        outputs = model.output
    whole = keras.Model(model.input, outputs, name=model.name)
    descriptor, temporary = tempfile.mkstemp(prefix=".model.", suffix=".keras", dir=run_dir.path)
    os.close(descriptor)
    try:
        whole.save(temporary)
        os.replace(temporary, run_dir.model)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    is_values = dataset.schema.label_kind == "values"
    write_json(
        run_dir.data,
        {
            "schema": dataset.schema.to_json(),
            "checksum": dataset.checksum,
            "train_rows": dataset.num_rows("train"),
            "train_counts": [] if is_values else dataset.label_counts("train").tolist(),
            "label_mean": dataset.statistics.label_mean if is_values else None,
            "label_median": dataset.statistics.label_median if is_values else None,
        },
    )


def load_trained(run_dir: RunDir) -> Trained:
    """The finished run in `run_dir`, or CheckpointError. Every rank for itself; no collective."""
    try:
        note = json.loads(run_dir.data.read_text())
        whole = keras.models.load_model(run_dir.model, compile=False)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{run_dir.path} is not a finished run: it has no {Path(error.filename).name}. "
            f"Name a run's directory; an unfinished one is finished with `hvd-train train --resume {run_dir.path}`."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{run_dir.path}: its model cannot be read ({error}).") from None
    schema = Schema.from_json(note["schema"])
    is_values = schema.label_kind == "values"
    return Trained(
        model=whole if is_values else keras.Model(whole.input, whole.get_layer(OUTPUTS_LAYER).output),
        schema=schema,
        labels=Labels.of(schema.label_kind, schema.label_values),
        train_counts=np.array(note["train_counts"], dtype=np.int64),
        label_mean=note["label_mean"] or 0.0,
        label_median=note["label_median"] or 0.0,
    )
