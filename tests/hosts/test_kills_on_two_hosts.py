"""A supervised run on two hosts meets the faults of hosts, a lost one too, and ends as an undisturbed one, bit for bit.

tests/launch/cluster/test_kills.py has the faults of one host, and `python benchmarks/kills.py` a hundred of all kinds.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from namespaces import why_not

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.timeout(1800)
def test_every_fault_that_takes_two_hosts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := why_not():
        pytest.skip(reason)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kills, places = importlib.import_module("kills"), importlib.import_module("faults.places")
    plan = importlib.import_module("faults.plan")
    with places.both_hosts(1) as place:
        kinds = dict.fromkeys(sorted(plan.TWO_HOSTS.keys() - plan.ONE_HOST.keys()), 1)
        seen = kills.measure_at(place, kills.Trial(faults=len(kinds), epochs_per_fault=1.0, seed=1), kinds)
    assert seen["differences"] == []
    assert seen["processes_left"] == []
    assert seen["files_left"] == []
    assert {one["fault"]["kind"] for one in seen["each"]} == kinds.keys() == {"daemon", "cut", "power-off"}
    assert seen["lost_steps"]["max"] <= kills.LOST_AT_MOST
