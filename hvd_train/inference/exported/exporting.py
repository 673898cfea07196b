"""`hvd-train export`: a finished run in a directory of its own, compared with Keras, with a description for programs."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.data import file_sha256, read_table_for_prediction
from hvd_train.errors import HvdTrainError, UserError
from hvd_train.files import write_json
from hvd_train.inference.export import Trained, load_trained
from hvd_train.inference.exported.comparison import CLOSE, FAR, NUM_ROWS, largest_difference, likely_rows
from hvd_train.inference.exported.formats import Written, quiet, write
from hvd_train.inference.exported.outputs import INPUT, exported_model, outputs_of
from hvd_train.inference.exported.requirements import Format, require_exportable
from hvd_train.runs import RunDir, versions

METADATA = "metadata.json"


@dataclass(frozen=True)
class Exported:
    """What `export_run` has written."""

    file: Path
    """The model: a file, or the directory of a SavedModel."""
    metadata: Path
    remarks: tuple[str, ...]
    """What the user should know about it."""


def export_run(run_dir: RunDir, kind: Format, out: Path, *, data: Path | None = None) -> Exported:
    """Write the best model of a run into `out`, a new directory. One process.

    The written model is computed by its own runtime and compared with Keras: on the first rows of the table `data`, or
    on rows drawn as those of the train split were spread.

    Raises:
        UserError: `out` is occupied, the run is not finished, or the format lacks an operation of the model.
        HvdTrainError: the written model predicts something else than Keras. Nothing is left behind.
    """
    require_exportable(run_dir, kind, out)
    trained = load_trained(run_dir)
    rows_NF, source = _rows(trained, data)
    model = exported_model(trained)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside it, so that it becomes whole in one step.
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UserError(f"--out {out}: it cannot be made there ({error.strerror}).") from None
    try:
        folder = scratch / "export"
        folder.mkdir()
        written = write(kind, model, folder)
        checked, remarks = _checked(kind, model, written, rows_NF, source)
        write_json(folder / METADATA, _metadata(run_dir, kind, trained, written, checked))
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(out / written.file, out / METADATA, remarks)


def _rows(trained: Trained, data: Path | None) -> tuple[np.ndarray | None, str]:
    """(n, F) the rows to compare on, and where they are from. DataError."""
    if data is None:
        return likely_rows(trained.model, trained.schema.layout)
    blocks = read_table_for_prediction(data, trained.schema, trained.table_format, with_labels=False)
    first = next(blocks, None)
    blocks.close()  # type: ignore[attr-defined]
    rows_NF = np.empty((0, trained.schema.num_features), np.float32) if first is None else first.features[:NUM_ROWS]
    return rows_NF, str(data)


def _checked(
    kind: Format, model: Any, written: Written, rows_NF: np.ndarray | None, source: str
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The comparison with Keras for the metadata, and remarks. HvdTrainError where it is another model."""
    remarks = []
    if rows_NF is None:
        remarks.append("The export was not compared with Keras, because no rows are known. Give some by --data TABLE.")
        return None, tuple(remarks)
    difference = 0.0
    # Two sizes: a conversion may have fixed the number of rows.
    for rows in (rows_NF, rows_NF[:1]):
        expected = {name: np.asarray(value) for name, value in model(rows, training=False).items()}
        with quiet():
            found = written.compute(rows)
        difference = max(difference, largest_difference(expected, found))
    if not difference < FAR:
        raise HvdTrainError(
            f"The model in the format {kind} predicts something else than Keras: the largest difference on {len(rows_NF):,} "
            f"rows ({source}) is {difference:.2g}. Nothing was written. Export it as savedmodel, and please report this."
        )
    how = f"The largest difference from Keras is {difference:.1e} on {len(rows_NF):,} rows ({source})"
    remarks.append(f"{how}." if difference <= CLOSE else f"Take care: {how[0].lower()}{how[1:]}.")
    checked = {"rows": len(rows_NF), "source": source, "largest_difference": difference, "runtime": written.runtime}
    return checked, tuple(remarks)


def _metadata(
    run_dir: RunDir, kind: Format, trained: Trained, written: Written, checked: dict[str, Any] | None
) -> dict[str, Any]:
    """What a program needs in order to use the model."""
    schema = trained.schema
    kinds = schema.feature_kinds or ("number",) * schema.num_features
    return {
        "format": kind,
        "file": written.file,
        **written.facts,
        "run": run_dir.path.resolve().name,
        "model_sha256": file_sha256(run_dir.model),
        "versions": versions(),
        "inputs": [
            {
                "name": INPUT,
                "dtype": "float32",
                "shape": [None, schema.num_features],
                "layout": {
                    "positions": schema.layout[0],
                    "channels": schema.layout[1],
                    "order": "channel after channel",
                },
                "meaning": "plain cells of the table, one row for each prediction; NaN is a missing cell",
                "text_columns": [column.to_json() for column in schema.text_columns],
                "columns": [
                    {"name": name, "kind": kind} for name, kind in zip(schema.feature_names, kinds, strict=True)
                ],
            }
        ],
        "outputs": [output.to_json() for output in outputs_of(trained.output_spec)],
        "labels": {"name": schema.label_name, "kind": schema.label_kind, "values": list(schema.label_values)},
        "compared_with_keras": checked,
    }
