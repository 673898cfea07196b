"""What horovodrun does before it starts the ranks: it may not load TensorFlow, which takes longer than all the rest."""

from __future__ import annotations

import json
from pathlib import Path

import horovod
from processes import horovodrun, run


def test_it_asks_the_record_of_the_build_and_imports_no_extension() -> None:
    ended = run(horovodrun(1, "true"), timeout_s=60, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0, ended
    assert "horovod.runner.launch" in ended.stderr  # the record of imports is there
    assert "tensorflow" not in ended.stderr, ended.stderr[-2000:]


def test_the_build_recorded_what_it_has() -> None:
    recorded = json.loads((Path(horovod.__file__).parent / "metadata.json").read_text())
    assert recorded["mpi_built"] is True
    assert recorded["gloo_built"] is True
