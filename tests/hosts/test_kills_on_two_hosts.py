"""A supervised run on two hosts meets every kind of fault, a lost host too, and ends as an undisturbed one, bit for bit."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from namespaces import why_not

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.timeout(1800)
def test_a_fault_of_every_kind_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := why_not():
        pytest.skip(reason)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kills, places = importlib.import_module("kills"), importlib.import_module("faults.places")
    plan = importlib.import_module("faults.plan")
    with places.both_hosts(1) as place:
        trial = kills.Trial(faults=len(plan.KINDS), epochs_per_fault=1.0, seed=1)
        seen = kills.measure_at(place, trial, dict.fromkeys(plan.KINDS, 1))
    assert seen["differences"] == []
    assert seen["processes_left"] == []
    assert seen["files_left"] == []
    assert {one["fault"]["kind"] for one in seen["each"]} == set(plan.KINDS)
    assert seen["lost_steps"]["max"] <= kills.LOST_AT_MOST
