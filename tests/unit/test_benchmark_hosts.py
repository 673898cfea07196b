"""benchmarks/hosts.py: what is computed from the rounds, who asks for the rate of a link, and what is refused before minutes of work."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def summary() -> ModuleType:
    return importlib.import_module("wire.summary")


@pytest.fixture
def jobs() -> ModuleType:
    return importlib.import_module("wire.jobs")


@pytest.fixture
def rates() -> ModuleType:
    return importlib.import_module("wire.rates")


def test_each_host_must_send_its_part_of_the_gradients(summary: ModuleType) -> None:
    assert summary.least_bytes(1000, 2) == 1000
    assert summary.least_bytes(1000, 4) == 1500


def test_the_wire_carries_headers_too_and_an_unlimited_one_takes_no_time(summary: ModuleType) -> None:
    assert summary.wire_ms(1_448_000, "1000") == pytest.approx(1.514 * 8)
    assert summary.wire_ms(1_448_000, "unlimited") == 0


def rounds_of(*steps: float) -> list[dict[str, float]]:
    return [{"step_ms": step, "alone_ms": 6.0, "cpu_ms": 5.0, "sent_bytes": 1.1e6} for step in steps]


def test_a_step_is_compared_with_the_same_round_and_with_the_limit(summary: ModuleType) -> None:
    measured = {
        "2x1 reference ours": {"1000": rounds_of(20.0, 24.0, 22.0)},
        "2x1 reference bfloat16": {"1000": rounds_of(10.0)},
        "2x1 reference ddp": {"1000": [{"step_ms": 40.0, "alone_ms": 10.0, "sent_bytes": 1e6}]},
        "plain sockets": {"1000": [{"ms": 13.0, "cpu_ms": 1.0, "exchanges": 9}]},
    }
    about = {row: {"gradient_bytes": 1_448_000} for row in measured if not row.endswith(("ddp", "sockets"))}
    rows = summary.rows({"measured": measured, "about rows": about})
    ours = rows["2x1 reference ours"]["1000"]
    assert ours["step_ms"] == {"median": 22.0, "min": 20.0, "max": 24.0, "repeats": 3}
    assert ours["of_alone"]["median"] == pytest.approx(6 / 22)
    assert ours["of_limit"]["median"] == pytest.approx(12.112 / 22)
    assert rows["2x1 reference bfloat16"]["1000"]["limit_ms"]["median"] == pytest.approx(6.056)
    # A peer is compared with its own steps, and sends as many gradients as we do.
    assert rows["2x1 reference ddp"]["1000"]["of_limit"]["median"] == pytest.approx(12.112 / 40)
    lines = list(summary.lines(rows, {"ours": "hvd_train"}))
    assert lines[0][:3] == ("2x1, reference, hvd_train", "1000", "22.00 (20.00 to 24.00)")
    assert {len(line) for line in lines} == {len(summary.HEADS)}


def test_of_each_round_the_slowest_rank_counts_and_the_host_that_sent_most(jobs: ModuleType) -> None:
    def rank(host: str, local_rank: int, step: float, sent: float) -> dict[str, Any]:
        one = {"step_ms": step, "alone_ms": step / 2, "cpu_ms": 1.0, "sent_bytes": sent}
        return {
            "host": host,
            "local_rank": local_rank,
            "gradient_bytes": 8,
            "local_batch_size": 4,
            "rates": {"100": [one]},
        }

    ranks = [rank("a", 0, 3.0, 10.0), rank("a", 1, 5.0, 99.0), rank("b", 0, 4.0, 11.0)]
    line = jobs.rank.ANSWER + json.dumps({"ranks": ranks, "settings": "cores 0"})
    rounds, about = jobs.told(f"a log line\n{line}\n")
    assert rounds == {"100": [{"step_ms": 5.0, "alone_ms": 2.5, "cpu_ms": 1.0, "sent_bytes": 11.0}]}
    assert about == {"gradient_bytes": 8, "local_batch_size": 4, "num_hosts": 2, "settings": "cores 0"}
    with pytest.raises(jobs.JobFailed, match="crashed"):
        jobs.told("it crashed")


def test_what_a_peer_said_is_sorted_by_rate(jobs: ModuleType) -> None:
    one = {"rate": "100", "step_ms": 2.0, "sent_bytes": 1.0}
    said = jobs.said("noise\n" + json.dumps({"rates": [one, one | {"rate": "1000"}, one]}) + "\n")
    assert {rate: len(rounds) for rate, rounds in said.items()} == {"100": 2, "1000": 1}


class Links:
    """A laboratory whose links are a list of the rates that they were given."""

    def __init__(self) -> None:
        self.given: list[float | None] = []

    def limit(self, mbit_per_s: float | None) -> None:
        self.given.append(mbit_per_s)


def test_a_program_that_asks_goes_on_when_the_links_have_the_rate(rates: ModuleType, tmp_path: Path) -> None:
    lab = Links()
    with rates.kept(lab, tmp_path):
        rates.ask(str(tmp_path), "1000", 1)
        assert lab.given == [1000.0]
        rates.ask(str(tmp_path), "unlimited", 2)
        rates.ask(str(tmp_path), "unlimited", 3)
        assert lab.given == [1000.0, None, None]
    assert lab.given[-1] is None


def test_a_rate_that_nobody_gives_is_an_error(
    rates: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "LIMIT_S", 0.05)
    with pytest.raises(TimeoutError, match="'1000'"):
        rates.ask(str(tmp_path), "1000", 1)


def test_the_interface_that_sent_most_is_the_one(rates: ModuleType) -> None:
    assert rates.most_sent({"eth0": 5, "docker0": 100}, {"eth0": 50, "docker0": 101, "new": 7}) == 45
    assert "lo" not in rates.sent_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layouts", "2by1"], "--layouts '2by1': a layout is HxR"),
        (["--layouts", "9x1"], "2 to 4 hosts"),
        (["--rates", "fast"], "--rates 'fast': a rate is a number of Mbit/s"),
        (["--recipes", "none"], "There is no recipe 'none'"),
        (["--recipes", "songs"], "rows of this name are those of synthetic-songs"),
        (["--hostfile", "missing"], "--hostfile missing: there is no such file"),
        (["--smoke", "--out", "/proc/nowhere"], "--out /proc/nowhere cannot be written"),
    ],
)
def test_what_cannot_work_is_said_first(arguments: list[str], message: str) -> None:
    command = [sys.executable, BENCHMARKS / "hosts.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert message in done.stderr
