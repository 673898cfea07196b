"""What `hvd-train export` does: write the model of a finished run for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hvd_train.cli.terminal import parse, tell
from hvd_train.distributed import Placement, end_rank, open_world


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """Write the best model of a run for TensorFlow Serving, ONNX Runtime or LiteRT.

    The preprocessing is inside: plain rows go in, any number of them. The outputs have the names of the columns of
    `hvd-train predict`. The written model is compared with Keras. metadata.json describes inputs, outputs and labels.

    Examples:

        hvd-train export runs/default-20260101-120000 --out serving/songs/1

        hvd-train export runs/default-20260101-120000 --format onnx --out songs-onnx --data songs.csv
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A finished run's directory."""
    format: Literal["savedmodel", "onnx", "litert"] = "savedmodel"
    """savedmodel: a directory for TensorFlow and TensorFlow Serving. onnx: model.onnx, which needs the extra hvd_train[onnx]. litert: model.tflite, for phones and small devices."""
    out: Path
    """The directory to write to: a new one, or an empty one."""
    data: Path | None = None
    """A table whose first rows are used to compare with Keras. By default random rows, spread as the train split was."""


def export(argv: Sequence[str], placement: Placement) -> int:
    """Returns the exit code. All ranks; the root writes."""
    arguments = parse(ExportArguments, argv, placement, prog="hvd-train export")
    from hvd_train.inference import require_exportable
    from hvd_train.runs import RunDir

    run_dir = RunDir(arguments.run_dir)
    # Every rank is here before one of them writes: they meet below.
    require_exportable(run_dir, arguments.format, arguments.out)
    world = open_world(lean=True)
    from hvd_train.inference import export_run
    from hvd_train.processes import Stopped
    from hvd_train.runs import guarded, how_stopped
    from hvd_train.watchdog import Limits

    untouched = f"{arguments.out} was not written."
    try:
        with guarded(world, Limits(), hint=lambda: untouched):
            exported = world.together(
                lambda: export_run(run_dir, arguments.format, arguments.out, data=arguments.data), on="root"
            )
    except Stopped as stopped:
        return end_rank(placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {untouched}")
    assert exported is not None
    for remark in exported.remarks:
        tell(placement, remark)
    tell(placement, f"written: {exported.file} and {exported.metadata}")
    world.close()
    return 0
