"""TensorBoard: event files in the folder `tensorboard` of the run directory.

    hvd-train train
    tensorboard --logdir runs

Scalars by epoch and by step, the pictures, the settings as hyper-parameters and as text. The model's graph is left out: it
is large, and the pages of TensorBoard do not show those of Keras 3. Files are written by the tensorboard package alone.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvd_train.runs.trackers.base import Axis, Beginning, Interval, ScalarTracker

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

FOLDER = "tensorboard"
FLUSH_EVERY_S = 2.0


class TensorBoardTracker(ScalarTracker):
    """Writes one event file for each start of the run. TensorBoard joins those of one folder."""

    drops_lost_steps = True
    """Whether steps that are done again replace those of before. Not for a script, whose steps may begin at 0 again."""

    def begin(self, beginning: Beginning) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = beginning.run_dir / FOLDER
        self._resumes = folder.is_dir() and any(folder.iterdir())
        self._writer = EventFileWriter(str(folder))
        self._flush = Interval(FLUSH_EVERY_S)
        if not self._resumes:
            self._starts_at(0)  # the first mark of a start drops nothing
        if beginning.facts:
            self._add(text_pb("facts", _markdown_table(beginning.facts)), step=0)
        sections: dict[str, dict[str, Any]] = {}
        for name, value in beginning.parameters.items():
            section, _, key = name.rpartition(".")
            sections.setdefault(section or key, {})[key] = value
        for section, values in sections.items():
            self._add(text_pb(f"config/{section}", _markdown_table(values)), step=0)
        self._add(hparams_pb(dict(beginning.parameters), trial_id=beginning.run_dir.name), step=0)
        self._writer.flush()

    def scalars(self, values: dict[str, float], *, step: int, axis: Axis) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        if axis == "step" and self._resumes and self.drops_lost_steps:
            self._resumes = False
            self._starts_at(step)
        for name, value in values.items():
            self._add(scalar_pb(name, float(value)), step=step)
        if axis == "epoch" or self._flush.is_over():
            self._writer.flush()

    def picture(self, name: str, path: Path, *, step: int) -> None:
        from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
        from tensorboard.plugins.image import metadata

        png = path.read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            string_val=[str(width).encode(), str(height).encode(), png],
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=3)]),
        )
        about = metadata.create_summary_metadata(display_name=name, description="")
        value = summary_pb2.Summary.Value(tag=name, metadata=about, tensor=tensor)
        self._add(summary_pb2.Summary(value=[value]), step=step)

    def end(self, *, complete: bool) -> None:
        self._writer.close()

    def _add(self, summary: Summary, *, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def _starts_at(self, step: int) -> None:
        """Mark a start. Steps that an earlier one did after its last checkpoint are done again: TensorBoard drops those.

        It drops epochs from this number on, too. There are none: no run has done more epochs than steps.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=step, session_log=start))


def _markdown_table(rows: Any) -> str:
    """A table of two columns, as the text plugin shows it."""

    def cell(value: Any) -> str:
        return " ".join(str(value).split()).replace("|", "\\|")

    return "\n".join(["| name | value |", "| --- | --- |", *(f"| {cell(k)} | {cell(v)} |" for k, v in rows.items())])
