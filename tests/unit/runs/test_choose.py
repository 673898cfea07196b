"""Which run is meant, how far it has come, the batch job in its name and in its report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hvd_train.errors import UserError
from hvd_train.runs.choose import named_after_job, new_run_dir, stage_of
from hvd_train.runs.directory import RunDir
from hvd_train.runs.provenance import job_state
from hvd_train.runs.report import Report, read_report
from hvd_train.schedulers.job import Job
from hvd_train.schedulers.table import detect_job

# A task of an array under each scheduler, as jobs had it.
ARRAYS = {
    "123_4": {"SLURM_JOB_ID": "127", "SLURM_ARRAY_JOB_ID": "123", "SLURM_ARRAY_TASK_ID": "4"},
    "11_2": {"PBS_JOBID": "11[2].server", "PBS_ARRAY_INDEX": "2"},
    "8_3": {"LSB_JOBID": "8", "LSB_JOBINDEX": "3"},
    "15_1": {"JOB_ID": "15", "SGE_TASK_ID": "1"},
}


def test_a_run_is_new_then_begun_then_complete(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    assert stage_of(run) == "new"
    run.create()
    assert stage_of(run) == "new", "a run that was killed before its first checkpoint begins again"
    run.last.touch()
    assert stage_of(run) == "begun"
    run.done.touch()
    assert stage_of(run) == "complete"


@pytest.mark.parametrize(("shown", "environment"), ARRAYS.items())
def test_tasks_of_an_array_get_a_directory_each(shown: str, environment: dict[str, str], tmp_path: Path) -> None:
    job = detect_job(environment)
    assert job is not None
    assert named_after_job(Path("runs/songs-{job}"), job) == Path(f"runs/songs-{shown}")
    assert new_run_dir("songs", parent=tmp_path, job=job).path.name.endswith(f"-job{shown}")


def test_a_name_with_the_job_in_it_needs_a_job() -> None:
    assert named_after_job(Path("runs/songs"), None) == Path("runs/songs")
    with pytest.raises(UserError, match=r"--run-dir runs/songs-\{job\}: .* no scheduler started this"):
        named_after_job(Path("runs/songs-{job}"), None)
    assert named_after_job(Path("{job}/a-{job}"), Job("Slurm", "7")) == Path("7/a-7")


def test_the_report_names_the_job_and_its_requeues() -> None:
    assert job_state({}) == {}
    requeued = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}
    assert job_state(requeued) == {"scheduler": "Slurm", "id": "7", "restarts": 2}


def test_a_report_is_read_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    values: dict[str, Any] = {one.name: {} for one in dataclasses.fields(Report)}
    report = Report(**(values | {"samples_per_s": 12.5, "job": {"scheduler": "Slurm", "id": "7", "restarts": 0}}))
    run.report.write_text(json.dumps(report.as_json()))
    assert read_report(run) == report
    older = report.as_json()
    del older["job"]
    run.report.write_text(json.dumps(older))
    assert read_report(run) == dataclasses.replace(report, job={})
    for text in ("{", '{"found": {}}', "[]"):
        run.report.write_text(text)
        with pytest.raises(UserError, match=r"report\.json: this file is damaged .* Start the run again"):
            read_report(run)
    run.report.unlink()
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_report(run)
