"""The report of an ensemble: read as it was written, never taken for that of a run, and its damage named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_reports import report

from hvd_train.errors import UserError
from hvd_train.runs.directory import RunDir
from hvd_train.runs.ensemble_report import EnsembleReport, read_ensemble_report, write_ensemble_report
from hvd_train.runs.report import read_report

SHARED = ("metrics", "baselines", "optimum", "details", "verdict", "data_checksum", "rows", "versions", "size", "ranks")


@pytest.fixture
def written(tmp_path: Path) -> tuple[RunDir, EnsembleReport]:
    one = report("classes")
    ensemble = EnsembleReport(
        **{name: getattr(one, name) for name in SHARED},
        **{"members": ["a", "b"], "member_seconds": [3.0, 4.0], "train_seconds": 6.0, "join_seconds": 1.5},
        date="2026-11-29T01:00:00+00:00",
    )
    run_dir = RunDir(tmp_path)
    write_ensemble_report(ensemble, run_dir)
    return run_dir, ensemble


def test_it_is_read_as_it_was_written(written: tuple[RunDir, EnsembleReport]) -> None:
    run_dir, ensemble = written
    found = read_ensemble_report(run_dir)
    assert found is not None
    assert (found.metrics, found.members, found.rows) == (ensemble.metrics, ensemble.members, ensemble.rows)
    assert run_dir.page.is_file()


def test_it_is_not_that_of_a_run(written: tuple[RunDir, EnsembleReport]) -> None:
    with pytest.raises(UserError, match="is an ensemble, which has no learning curve"):
        read_report(written[0])


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"members": ["a"]}'])
def test_damage_is_named(written: tuple[RunDir, EnsembleReport], text: str) -> None:
    run_dir, _ = written
    run_dir.report.write_text(text)
    with pytest.raises(UserError, match=r"report\.json"):
        read_ensemble_report(run_dir)


def test_a_report_without_rows_and_date_is_of_version_0_2(written: tuple[RunDir, EnsembleReport]) -> None:
    run_dir, _ = written
    document = json.loads(run_dir.report.read_text())
    del document["rows"], document["date"]
    run_dir.report.write_text(json.dumps(document))
    assert read_ensemble_report(run_dir) is not None
