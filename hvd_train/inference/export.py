"""The best model as one .keras file, and what its outputs mean. Read back by `evaluate` and `predict`.

The file holds built-in Keras layers, and those of a user. Preprocessing and decoding are among them: plain rows go in,
and for years and integers a dictionary comes out (see `decoded`), for names their probabilities, for real values the value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_train.data import Dataset, Schema, TableFormat
from hvd_train.errors import CheckpointError, ConfigError
from hvd_train.evaluation import OutputSpec, TrainLabels
from hvd_train.files import new_file, strict, write_json
from hvd_train.inference import custom_objects
from hvd_train.inference.data_json import note_of, read_note, require_whole
from hvd_train.models import HeadSpec, predicted
from hvd_train.runs import RunDir, user_code

# The outputs before they are decoded; looked up by this name.
OUTPUTS_LAYER = "outputs"


@dataclass(frozen=True)
class Trained:
    """A finished run, ready for rows: `model` gives logits (N, K) or values (N, 1)."""

    model: Any
    schema: Schema
    table_format: TableFormat
    output_spec: OutputSpec
    train_labels: TrainLabels


def deployed(model: Any, head: HeadSpec, spec: OutputSpec, temperature: float) -> Any:
    """Plain rows in, decoded labels out, of the model as it was trained."""
    outputs = predicted(model.output, head)
    if spec.predicts_distribution:
        outputs = keras.layers.Rescaling(1 / temperature)(outputs)
    return decoded(model.input, outputs, spec, model.name)


def decoded(rows: Any, raw: Any, spec: OutputSpec, name: str) -> Any:
    """The model from its input to what the `raw` outputs (N, K) or (N, 1) mean.

    For years and integers {"expected": (N, 1) mean, "median": (N, 1), "most_likely": (N, 1), "probabilities": (N, K)},
    for names probabilities (N, K), for a model that predicts values those.
    """
    raw = keras.layers.Activation("linear", name=OUTPUTS_LAYER)(raw)
    if not spec.predicts_distribution:
        return keras.Model(rows, raw, name=name)
    probabilities = keras.layers.Activation("softmax", name="probabilities")(raw)
    if spec.kind == "classes":
        return keras.Model(rows, probabilities, name=name)
    count = len(spec.values)
    middle = float(spec.values[count // 2])  # float32 holds the distances to it exactly enough
    mean = keras.layers.Dense(1, use_bias=False, trainable=False, name="label_values")
    whole = keras.layers.Rescaling(1.0, offset=middle)
    below_half = keras.ops.sum(keras.ops.cast(keras.ops.cumsum(probabilities, axis=1) < 0.5, "int32"), axis=1)
    median = keras.ops.one_hot(keras.ops.minimum(below_half, count - 1), count)
    most_likely = keras.ops.one_hot(keras.ops.argmax(probabilities, axis=1), count)
    outputs = {
        "expected": whole(mean(probabilities)),
        "median": whole(mean(median)),
        "most_likely": whole(mean(most_likely)),
        "probabilities": probabilities,
    }
    mean.set_weights([(spec.values - middle)[:, None].astype(np.float32)])
    return keras.Model(rows, outputs, name=name)


def save_model(whole: Any, spec: OutputSpec, dataset: Dataset, run_dir: RunDir) -> None:
    """Write model.keras and data.json, and the files of the user's own layers. Root only."""
    named = custom_objects.references(custom_objects.custom_objects(whole))
    user_code.keep(named.values(), run_dir)
    descriptor, temporary = new_file(run_dir.model, suffix=".keras")
    os.close(descriptor)
    try:
        whole.save(temporary)
        os.replace(temporary, run_dir.model)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    write_json(run_dir.data, note_of(spec, dataset, run_dir.model, named))


def load_trained(run_dir: RunDir) -> Trained:
    """The finished run in `run_dir`, or CheckpointError. Every rank for itself; no collective."""
    path, way_out = run_dir.data, f"Finish the run once more: hvd-train train --resume {run_dir.path}"
    try:
        note = read_note(path)
        path = run_dir.model
        require_whole(path, note)
        schema = Schema.from_json(note["schema"])
        named = note.get("custom_objects", {})
        reads_table = note.get("table_format", {}).get("format", "")
        user_code.use_kept([note["says_value_by"] or "", reads_table, *named.values()], run_dir, as_trained=True)
        spec = OutputSpec.of(
            schema.label_kind, schema.label_values, note["says_value_by"] or "", delta=note["huber_delta"]
        )
        own = custom_objects.load(named)
        model = _read_model(path, schema, spec, own, is_whole="model_sha256" in note)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{run_dir.path} is not a finished run: it has no {Path(error.filename or path).name}. "
            f"Name a run's directory; an unfinished one is finished with `hvd-train train --resume {run_dir.path}`."
        ) from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise CheckpointError(f"{path}: it cannot be read ({error.strerror}).") from None
    except ConfigError as error:
        raise CheckpointError(
            f"{path}: the model was made with code of your own, which is needed here. {error}"
        ) from error
    except Exception as error:
        if isinstance(error, _NotLoaded):
            raise CheckpointError(
                f"{path}: the file is whole, but it cannot be loaded here ({error}). Was it saved by another version of "
                f"Keras, or with layers of a program that is not imported here?"
            ) from None
        raise CheckpointError(strict.damage(path, error, way_out)) from None
    return Trained(
        model=model,
        schema=schema,
        # A run of version 0.1 does not have it.
        table_format=TableFormat.from_json(note.get("table_format", {})),
        output_spec=spec,
        train_labels=TrainLabels(
            np.array(note["train_counts"], dtype=np.int64),
            note["label_mean"] or 0.0,
            note["label_median"] or 0.0,
            note["label_std"] or 1.0,
            schema.label_values,
        ),
    )


class _NotLoaded(Exception):
    """Keras does not know what a whole file holds."""


def _read_model(path: Path, schema: Schema, spec: OutputSpec, own: dict[str, Any], *, is_whole: bool) -> Any:
    """The model from plain rows to its outputs before they are decoded."""
    try:
        whole = keras.models.load_model(path, custom_objects=own, compile=False)
    except Exception as error:
        raise _NotLoaded(strict.reason(error)) if is_whole else error from None
    model = keras.Model(whole.input, whole.get_layer(OUTPUTS_LAYER).output)
    num_outputs = schema.num_outputs if spec.predicts_distribution else 2 if spec.predicts_std else 1
    shapes = tuple(model.input.shape), tuple(model.output.shape)
    if shapes != ((None, schema.num_features), (None, num_outputs)):
        raise strict.Damaged(f"its input and output shapes are {shapes}, and data.json describes others")
    return model
