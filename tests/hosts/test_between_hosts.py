"""The laboratory's smallest run (benchmarks/hosts.py): two hosts at 1 Gbit/s, and what each sends in a step."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from namespaces import why_not
from processes import REPOSITORY, run

# What MPI and TCP add to the gradients: headers, acknowledgements, and the words by which ranks agree on what to send.
ADDED_AT_MOST = 1.12


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if reason := why_not(limited=True):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("results")
    program = REPOSITORY / "benchmarks" / "hosts.py"
    run([sys.executable, program, "--smoke", "--out", folder], timeout_s=240, cwd=tmp_path_factory.mktemp("work"))
    (path,) = folder.iterdir()
    return dict(json.loads(path.read_text()))


@pytest.mark.timeout(300)
def test_each_host_sends_its_part_of_the_gradients_and_no_more(measured: dict[str, Any]) -> None:
    one = measured["rows"]["2x1 reference ours"]["1000"]
    assert 1.0 <= one["sent_bytes"]["median"] / one["least_bytes"] <= ADDED_AT_MOST


def test_a_step_is_compared_with_the_limit(measured: dict[str, Any]) -> None:
    one = measured["rows"]["2x1 reference ours"]["1000"]
    # 1.53 MB need 12.8 ms at 1 Gbit/s: no step with an exchange is shorter, whatever else the machine does.
    assert one["step_ms"]["median"] >= 0.95 * 12.8
    assert one["limit_ms"]["median"] >= 12.7
    assert one["of_limit"]["median"] <= 1.05
    assert not measured["oversubscribed"]["2x1"] or len(Path("/proc/cpuinfo").read_text().split("processor\t")) < 3
