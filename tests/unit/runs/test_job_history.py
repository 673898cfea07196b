"""RUN/job/history.jsonl: written line by line, read whatever happened to the writer."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hvd_train.files import write_atomically
from hvd_train.runs import RunDir, checkpoint, job_history
from hvd_train.runs.job_history import End, Start

START = Start(number=1, hosts={"node1": 2, "node2": 1}, ranks=3, scheduler="Slurm", job="12_3", epoch=2, step=17)
END = End(number=1, code=85, outcome="saved", reason="the time limit is near", next="continue", epoch=2, step=40)


def test_events_come_back_in_order(tmp_path: Path) -> None:
    history = RunDir(tmp_path / "run").job.history
    for event in (START, END):
        job_history.append(history, event)
    assert job_history.read(history) == (START, END)


def test_a_line_has_the_agreed_keys_event_first(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    job_history.append(path, START)
    document = json.loads(path.read_text())
    assert list(document)[:2] == ["event", "time"]
    assert {
        key: document[key] for key in ("event", "number", "scheduler", "job", "hosts", "ranks", "epoch", "step")
    } == {
        "event": "start",
        "number": 1,
        "scheduler": "Slurm",
        "job": "12_3",
        "hosts": {"node1": 2, "node2": 1},
        "ranks": 3,
        "epoch": 2,
        "step": 17,
    }
    assert document["time"].endswith("+00:00")


def test_a_run_without_a_history_has_no_events(tmp_path: Path) -> None:
    assert job_history.read(tmp_path / "history.jsonl") == ()


def test_a_torn_line_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    job_history.append(path, START)
    with path.open("a") as file:
        file.write('{"event": "end", "num')
    job_history.append(path, END)
    assert job_history.read(path) == (START, END)


@pytest.mark.parametrize("line", ["", "[]", "7", "null", '{"event": "noise"}', '{"event": "start"}', '{"event": []}'])
def test_other_lines_are_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(line + "\n")
    job_history.append(path, END)
    assert job_history.read(path) == (END,)


def test_the_position_of_a_checkpoint_is_read_without_its_arrays(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    assert checkpoint.position(path) is None
    note = np.frombuffer(json.dumps({"progress": {"epoch": 3, "step": 41}}).encode(), dtype=np.uint8)
    write_atomically(path, lambda file: np.savez(file, note=note, v0=np.zeros(3)))  # type: ignore[arg-type]
    assert checkpoint.position(path) == (3, 41)
    path.write_bytes(path.read_bytes()[:50])
    assert checkpoint.position(path) is None


def test_the_story_has_each_start_with_its_end() -> None:
    first = dataclasses.replace(START, time="2026-11-28T03:00:00.000+00:00")
    ended = dataclasses.replace(END, time="2026-11-28T03:10:00.000+00:00", lost_s=4.5)
    second = dataclasses.replace(START, number=2, time="2026-11-28T03:10:07.500+00:00", step=40)
    told = job_history.story([first, ended, second])
    assert [start["number"] for start in told] == [1, 2]
    assert told[0] == {
        "started": first.time,
        "number": 1,
        "hosts": {"node1": 2, "node2": 1},
        "ranks": 3,
        "epoch": 2,
        "step": 17,
        "scheduler": "Slurm",
        "job": "12_3",
        "ended": ended.time,
        "code": 85,
        "outcome": "saved",
        "reason": "the time limit is near",
        "lost_s": 4.5,
        "paused_s": 7.5,
    }
    assert (told[1]["ended"], told[1]["outcome"], told[1]["paused_s"]) == (None, None, None)
    assert job_history.story([]) == []
