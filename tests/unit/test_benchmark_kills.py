"""benchmarks/kills.py: the faults that are planned, and what is computed from the times of the steps."""

from __future__ import annotations

import collections
import importlib
import itertools
import os
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def faults() -> Any:
    """The modules by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        names = ("plan", "story", "compare", "inject")
        yield SimpleNamespace(**{name: importlib.import_module(f"faults.{name}") for name in names})


@settings(max_examples=60, deadline=None)
@given(number=st.integers(1, 120), seed=st.integers(0, 2**31), two=st.booleans())
def test_a_plan_has_its_shares_and_leaves_room_between_faults(faults: Any, number: int, seed: int, two: bool) -> None:
    kinds = faults.plan.TWO_HOSTS if two else faults.plan.ONE_HOST
    planned = faults.plan.plan(number, seed, kinds=kinds, size=4, steps=400 * number)
    assert [fault.number for fault in planned] == list(range(1, number + 1))
    counted = collections.Counter(fault.kind for fault in planned)
    for kind, weight in kinds.items():
        assert abs(counted[kind] - number * weight / sum(kinds.values())) < 1
    assert all(400 * i <= fault.at <= 400 * i + 200 for i, fault in enumerate(planned))
    hits = [fault.moment == "start-up" for fault in planned]
    assert not hits[0]
    assert not any(one and two for one, two in itertools.pairwise(hits)), "such a run is given up"
    assert planned == faults.plan.plan(number, seed, kinds=kinds, size=4, steps=400 * number)


def test_a_long_plan_hits_every_moment_and_every_rank(faults: Any) -> None:
    planned = faults.plan.plan(100, 0, kinds=faults.plan.TWO_HOSTS, size=2, steps=40000)
    moments = collections.Counter(fault.moment for fault in planned)
    assert moments["save"] == 25
    assert moments["start-up"] >= 10
    assert {fault.rank for fault in planned if fault.kind == "cut"} == {0, 1}
    assert {fault.rank for fault in planned if fault.kind == "power-off"} == {1}, "the supervisor is on the first host"


def fault(faults: Any, number: int = 1, moment: str = "step") -> Any:
    return faults.plan.Fault(number, "kill", moment, 0, 0, 0.0)


def steps(pid: int, *times_and_steps: tuple[float, int]) -> list[dict[str, Any]]:
    return [{"pid": pid, "time": at, "what": "steps", "done": done} for at, done in times_and_steps]


def start(pid: int, born: float) -> dict[str, Any]:
    return {"pid": pid, "time": born + 5, "what": "start", "born": born, "imported": born + 4, "per_execution": 5}


def test_the_cost_of_a_fault_is_counted_to_the_next_step_of_the_next_process(faults: Any) -> None:
    events = [
        *steps(1, (10.0, 5), (11.0, 10), (12.0, 15)),
        # The rank that was not hit finishes what it computes.
        *steps(1, (12.6, 20)),
        start(2, 14.0),
        # From a checkpoint at 10: 20 steps were done, so 10 are lost.
        *steps(2, (20.0, 15), (20.1, 20)),
    ]
    (cost,) = faults.story.costs(events, [faults.story.Struck(fault(faults), 12.5)], [9.0, 13.5])
    assert cost.seconds == 7.5
    assert (cost.lost_steps, cost.hit) == (10, "steps")
    assert list(cost.phases.values()) == [1.0, 0.5, 4.0, 1.0, 1.0]
    assert sum(cost.phases.values()) == cost.seconds


def test_a_fault_in_the_start_up_loses_no_step_and_hides_the_one_before(faults: Any) -> None:
    events = [*steps(1, (10.0, 100)), start(2, 12.0), start(3, 16.0), *steps(3, (22.0, 80))]
    struck = [
        faults.story.Struck(fault(faults), 10.5),
        faults.story.Struck(fault(faults, 2, "start-up"), 14.0),
    ]
    first, second = faults.story.costs(events, struck)
    assert (first.seconds, first.hit) == (None, "steps")
    assert (second.seconds, second.lost_steps, second.hit) == (8.0, 0, "start-up")
    summary = faults.story.summary([first, second])
    assert summary["seconds"] == {"number": 1, "median": 8.0, "p95": 8.0, "max": 8.0}
    assert summary["hit"] == {"start-up": 1, "steps": 1}


def test_the_steps_before_a_fault_that_hid_another_are_still_lost(faults: Any) -> None:
    """Two faults: the steps that the first one cost are counted for it, although the next step came after the second."""
    events = [*steps(1, (9.0, 95), (10.0, 100)), start(3, 16.0), *steps(3, (22.0, 80))]
    struck = [
        faults.story.Struck(fault(faults), 10.5),
        faults.story.Struck(fault(faults, 2, "start-up"), 14.0),
    ]
    first, _ = faults.story.costs(events, struck)
    assert first.lost_steps == 25


def test_a_fault_after_the_last_step_is_over_with_the_end_of_the_run(faults: Any) -> None:
    events = [*steps(1, (10.0, 100)), start(2, 12.0), {"pid": 2, "time": 19.0, "what": "end"}]
    (cost,) = faults.story.costs(events, [faults.story.Struck(fault(faults), 11.0)])
    assert (cost.seconds, cost.lost_steps) == (8.0, 0)


def test_the_tables_say_what_was_measured(faults: Any) -> None:
    tables = importlib.import_module("recovery_tables")
    events = [*steps(1, (10.0, 5), (11.0, 10)), start(2, 14.0), *steps(2, (20.0, 10), (20.1, 15))]
    cost = faults.story.costs(events, [faults.story.Struck(fault(faults), 12.5)], [13.5])
    part = {
        "faults": 1,
        "ranks": 2,
        "steps": 2000,
        "undisturbed_s": 300.0,
        "load_average": 2.4,
        "checkpoint_every_steps": 25,
        "differences": [],
        "processes_left": [],
        "files_left": ["one"],
        **faults.story.summary(cost),
    }
    about = {"date": "2026-11-28T01:00:00", "machine": "2 cores, a CPU, Linux 6", "file": "kills.json"}
    result = {"kills": {**about, "parts": {"one host": part}}}
    assert "| seconds from a fault to the next step: median | 7.5 |" in tables.kills(result)
    assert "| steps computed again: median | 5 |" in tables.kills(result)
    assert "| processes and files that are left over | 1 |" in tables.kills(result)
    assert "differ from the run without faults | none |" in tables.kills(result)
    assert "| a rank is killed (SIGKILL) | 7.5, 7.5 (1) |" in tables.faults(result)
    assert "mpirun is killed" not in tables.faults(result)
    assert "| imports and MPI | 4.0 s |" in tables.recovery(result)


def test_torn_lines_are_left_out(faults: Any) -> None:
    whole = '{"pid": 1, "time": 2.0, "what": "end"}'
    assert faults.story.read([whole, '{"pid": 1, "ti', "[]", "7", ""]) == [{"pid": 1, "time": 2.0, "what": "end"}]


def test_figures_are_nearest_ranks(faults: Any) -> None:
    assert faults.story.figures(list(range(1, 101))) == {"number": 100, "median": 50.5, "p95": 95, "max": 100}
    assert faults.story.figures([]) is None


def test_a_file_of_steps_is_read_as_it_grows(faults: Any, tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    seen = faults.inject.StepFile(path)
    seen.renew()
    with path.open("w", buffering=1) as file:
        file.write('{"pid": 1, "time": 1.0, "what": "steps", "done": 5}\n{"pid": 1, "time": 2.0, "what": "st')
        file.flush()
        seen.renew()
        assert (seen.done, seen.steps) == (5, 1)
        file.write('eps", "done": 10}\n{"pid": 1, "time": 2.0, "what": "end"}\n')
        file.flush()
        seen.renew()
    assert (seen.done, seen.steps, seen.ended) == (10, 2, True)


def test_a_save_is_noticed_when_it_begins(faults: Any, tmp_path: Path) -> None:
    files = faults.inject.NewFiles(tmp_path)
    assert not files.wait(0.01)
    threading.Timer(0.05, (tmp_path / ".last.npz.12345678").touch).start()
    began = time.monotonic()
    assert files.wait(5.0)
    assert time.monotonic() - began < 2.0
    files.close()


@pytest.mark.parametrize("what", ["a weight", "an array more", "a loss", "nothing"])
def test_a_difference_of_one_bit_is_found(faults: Any, tmp_path: Path, what: str) -> None:
    import numpy as np

    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        other = what if run.name == "two" else "nothing"
        (run / "checkpoints").mkdir(parents=True)
        values = np.ones(3, np.float32)
        more = {"v1": values} if other == "an array more" else {}
        if other == "a weight":
            values = values.copy()
            values.view(np.uint32)[1] ^= 1
        for name in ("last", "best"):
            note = np.frombuffer(os.urandom(8), np.uint8)
            np.savez(run / "checkpoints" / f"{name}.npz", v0=values, note=note, **more)
        loss = "0.25" if other == "a loss" else "0.5"
        (run / "metrics.csv").write_text(f"epoch,loss,seconds\n1,{loss},{run.name}\n")
        saved_model(run / "model.keras")
    from hvd_train.runs import RunDir

    found = faults.compare.differences(RunDir(runs[1]), RunDir(runs[0]))
    assert bool(found) == (what != "nothing"), found


def saved_model(path: Path) -> None:
    import io
    import zipfile

    h5py: ModuleType = pytest.importorskip("h5py")
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["layers/dense/vars/0"] = [1.0, 2.0]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", data.getvalue())
