"""progress.json, and the summaries of runs: what `hvd-train watch` and `hvd-train runs` read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from made_up_reports import report

from hvd_train.cli.runs.watch_verb import line
from hvd_train.config import RunConfig, toml
from hvd_train.events import Notes, Observers, RankState
from hvd_train.runs import ProgressFile, RunDir, lock_directory, read_progress, summaries, summary_of, write_history


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def state(rank: int, step: int, cpu_s: float) -> RankState:
    return RankState(rank=rank, host=f"node{rank}", phase=f"step {step}", step=step, cpu_s=cpu_s)


def begun(path: Path) -> RunDir:
    run = RunDir(path)
    run.create()
    run.config.write_text(toml.dumps(RunConfig()))
    return run


def test_the_file_has_the_place_the_rates_and_each_rank(tmp_path: Path) -> None:
    run, clock, ranks = begun(tmp_path), Clock(), [state(0, 0, 5.0), state(1, 0, 5.0)]
    writer = ProgressFile(lambda: ranks, clock)
    writer.on_start({}, {}, run.path)
    writer.on_epoch_begin(1, 3, 100)
    first = read_progress(run)
    assert first is not None
    assert (first.epoch, first.num_epochs, first.step, first.num_steps) == (1, 3, 0, 100)
    assert (first.loss, first.samples_per_s, first.seconds_left) == (None, None, None)

    clock.now, ranks[:] = 1000.5, [state(0, 40, 5.4), state(1, 40, 5.8)]
    writer.on_steps(40, 100, 500.0, 2.5)
    assert read_progress(run) == first, "written at most once a second"
    clock.now = 1002.0
    writer.on_steps(50, 100, 500.0, 2.5)
    second = read_progress(run)
    assert second is not None
    assert (second.step, second.loss, second.samples_per_s, second.time, second.started) == (
        50,
        2.5,
        500.0,
        1002.0,
        1000.0,
    )
    assert [one.cpu_s_per_step for one in second.ranks] == pytest.approx([0.01, 0.02])
    assert [(one.host, one.step) for one in second.ranks] == [("node0", 40), ("node1", 40)]

    writer.on_epoch_end({"epoch": 1, "seconds": 8.0, "samples_per_s": 500.0, "loss": 2.0}, best=True)
    writer.on_epoch_begin(2, 3, 100)
    third = read_progress(run)
    assert third is not None
    assert (third.seconds_left, third.best_epoch) == (16.0, 1)
    writer.on_epoch_end({"epoch": 2, "seconds": 4.0, "samples_per_s": 500.0, "loss": 2.0}, best=False)
    fourth = read_progress(run)
    assert fourth is not None
    assert (fourth.seconds_left, fourth.best_epoch) == (4.0, 1), "the first epoch includes the tracing of the graph"


def test_a_resumed_run_goes_on_from_the_figures_of_before(tmp_path: Path) -> None:
    run, clock = begun(tmp_path), Clock()
    row = {"seconds": 10.0, "samples_per_s": 500.0, "loss": 2.0}
    writer = ProgressFile(clock=clock)
    writer.on_start({"training": {"num_epochs": 4}}, {}, run.path)
    writer.on_resume([{"epoch": 1} | row, {"epoch": 2} | row], step=40, best_epoch=1)
    first = read_progress(run)
    assert first is not None
    assert (first.epoch, first.num_epochs, first.step, first.num_steps, first.best_epoch) == (3, 4, 0, 0, 1)
    writer.on_epoch_begin(3, 4, 100)
    second = read_progress(run)
    assert second is not None
    assert (second.step, second.best_epoch, second.seconds_left) == (40, 1, None)
    clock.now += 2
    writer.on_steps(50, 100, 1000.0, 2.5)
    third = read_progress(run)
    assert third is not None
    assert (third.best_epoch, third.seconds_left) == (1, 7.5), "1.5 epochs of 10 s, on ranks that are twice as fast now"
    writer.on_epoch_end({"epoch": 3, **row, "seconds": 4.0}, best=False)
    writer.on_epoch_begin(4, 4, 100)
    last = read_progress(run)
    assert last is not None
    assert (last.step, last.best_epoch, last.seconds_left) == (0, 1, 4.0)


def test_a_resumed_run_without_epochs_left_is_shown_as_evaluating(tmp_path: Path) -> None:
    run, clock = begun(tmp_path), Clock()
    rows = [{"epoch": 1, "val_loss": 2.0, "seconds": 1.0, "samples_per_s": 5.0}]
    write_history(rows, run.metrics)
    writer = ProgressFile(clock=clock)
    writer.on_start({"training": {"num_epochs": 1}}, {}, run.path)
    writer.on_resume(rows, step=0, best_epoch=1)
    shown = line(read_progress(run), summary_of(run.path), clock.now)
    assert shown == "empty  epoch 1/1  evaluates and saves  best validation loss 2.0000"


def test_the_best_value_of_a_metric_of_ones_own_is_kept_over_a_resume(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.config.write_text(toml.dumps(RunConfig().replace(training={"monitor": "val_own"})))
    rows = [{"epoch": e, "val_own": v, "seconds": 1.0, "samples_per_s": 5.0} for e, v in ((1, 0.25), (2, 0.75))]
    write_history(rows, run.metrics)
    writer = ProgressFile()
    writer.on_start({"training": {"num_epochs": 3}}, {}, run.path)
    writer.on_resume(rows, step=0, best_epoch=1)
    writer.on_epoch_begin(3, 3, 10)
    assert summary_of(run.path).best == 0.25
    # A complete run that goes on has the report of its first end.
    run.report.write_text(json.dumps({"best_epoch": 2}))
    assert summary_of(run.path).best == 0.25
    run.done.touch()
    assert summary_of(run.path).best == 0.75


def test_a_directory_that_is_gone_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notes = Notes()
    observers = Observers([ProgressFile(), notes])
    observers.on_start({}, {}, tmp_path / "file" / "run")
    assert notes.texts == []
    observers.on_epoch_begin(1, 1, 1)
    (text,) = notes.texts
    assert text.startswith("ProgressFile failed in on_epoch_begin")
    assert text.endswith("The run goes on without it.")
    observers.on_epoch_end({"epoch": 1, "seconds": 1.0, "samples_per_s": 1.0, "loss": 1.0}, best=True)
    assert len(notes.texts) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch": "one"}'])
def test_a_file_of_another_program_is_no_progress(tmp_path: Path, text: str) -> None:
    RunDir(tmp_path).progress.write_text(text)
    assert read_progress(RunDir(tmp_path)) is None


def test_a_run_is_empty_running_stopped_or_complete(tmp_path: Path) -> None:
    run = begun(tmp_path / "one")
    assert summary_of(run.path).state == "empty"
    run.last.touch()
    assert summary_of(run.path).state == "stopped"
    with lock_directory(run.path, what="The run directory", flag="--run-dir"):
        assert summary_of(run.path).state == "running"
    one = report()
    write_history(one.history, run.metrics)
    run.report.write_text(json.dumps(one.as_json()))
    run.done.touch()
    found = summary_of(run.path)
    assert (found.state, found.epoch, found.num_epochs) == ("complete", 3, RunConfig().training.num_epochs)
    assert (found.metric, found.value, found.val_loss) == ("rmse", 4.0, pytest.approx(4.0 / 3))
    assert (found.seconds, found.size, found.host, found.model) == (6.0, 2, "node1", RunConfig().model.name)


def test_damaged_files_leave_their_figures_out(tmp_path: Path) -> None:
    run = begun(tmp_path / "one")
    for path in (run.config, run.report, run.metrics, run.done):
        path.write_text("\x00{")
    found = summary_of(run.path)
    assert (found.state, found.value, found.val_loss, found.num_epochs) == ("complete", None, None, None)


def test_only_runs_are_listed_the_newest_last(tmp_path: Path) -> None:
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file").touch()
    for name in ("b", "a"):
        begun(tmp_path / name)
    os.utime(tmp_path / "a" / "config.toml", (1, 1))
    assert [run.path.name for run in summaries(tmp_path)] == ["a", "b"]
