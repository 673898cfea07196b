"""A supervised run on one host that is killed, stopped and robbed of its mpirun ends as an undisturbed one, bit for bit.

The same as `python benchmarks/kills.py --where one --faults 3`; docs/concepts/failures.md has the figures of a hundred.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_three_faults_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kills, places = importlib.import_module("kills"), importlib.import_module("faults.places")
    kinds = importlib.import_module("faults.plan").ONE_HOST
    with places.one_host(2) as place:
        seen = kills.measure_at(place, kills.Trial(faults=3, epochs_per_fault=1.0, watchdog_s=6.0), kinds)
    assert seen["differences"] == []
    assert seen["processes_left"] == []
    assert seen["files_left"] == []
    assert {one["fault"]["kind"] for one in seen["each"]} == {"kill", "stop", "mpirun"}
    assert {one["fault"]["moment"] for one in seen["each"]} == {"step", "save"}
    assert seen["lost_steps"]["max"] <= kills.LOST_AT_MOST
