"""A finished run on record batches, for programs that bring their rows themselves. The columns are found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from hvd_train.data import ArrowTable, Chunk, Columns, Encoding, Schema, flat_batch, know_categories, missing_columns
from hvd_train.errors import CheckpointError
from hvd_train.evaluation import OutputSpec
from hvd_train.files import strict
from hvd_train.inference.data_json import read_note
from hvd_train.inference.export import Trained
from hvd_train.inference.prediction_rows import columns, prediction_columns
from hvd_train.models import forward_pass
from hvd_train.runs import RunDir

OF_LABEL = ("median", "most_likely", "low_90", "high_90")
NAME = "the rows to predict"
Kind = Literal["number", "whole", "text"]


class _Rows(ArrowTable):
    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        raise NotImplementedError


def prediction_fields(run_dir: RunDir) -> dict[str, Kind]:
    """The columns that a run predicts, and what each holds. Raises CheckpointError where the run is not finished."""
    try:
        note = read_note(run_dir.data)
    except FileNotFoundError:
        raise CheckpointError(
            f"{run_dir.path} is not a finished run: it has no {run_dir.data.name}. Name the directory of a run that is complete."
        ) from None
    except Exception as error:
        raise CheckpointError(strict.damage(run_dir.data, error, "Finish the run once more.")) from None
    schema = Schema.from_json(note["schema"])
    spec = OutputSpec.of(schema.label_kind, schema.label_values, note["says_value_by"] or "", delta=note["huber_delta"])
    of_label: Kind = "text" if schema.label_kind == "classes" else "whole"
    return {name: of_label if name in OF_LABEL else "number" for name in columns(spec)}


def batch_predictor(trained: Trained) -> Callable[[Any], dict[str, Sequence[Any]]]:
    """A function from a pyarrow.RecordBatch to the columns of predictions, one value a row.

    A column that is an array counts as a column for each of its values, `name_1` and so on. The function raises
    DataError for columns that are missing, and for cells that are no numbers.
    """
    infer, spec, schema = forward_pass(trained.model), trained.output_spec, trained.schema
    encoding = Encoding.of_schema(schema)
    texts = tuple(encoding.texts)

    def predict(batch: Any) -> dict[str, Sequence[Any]]:
        flat = flat_batch(batch, NAME)
        if not set(schema.input_names) <= set(flat.schema.names):
            raise missing_columns(NAME, flat.schema.names, schema)
        wanted = flat.select(list(schema.input_names))
        table = _Rows(Path(NAME), trained.table_format, wanted.schema)
        found = Columns(schema.input_names, tuple(range(schema.num_inputs)), None, texts=texts)
        table.check_types(found)
        know_categories(table, found, schema)
        features = encoding.apply(table.convert(wanted, found, 0).features)
        return prediction_columns(spec, schema.label_values, infer(features))

    return predict
