"""The cost model of a step between hosts: limits that can be computed by hand, and calibrations that give back what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hvd_train.bench.hosts import measure, presentation
from hvd_train.bench.hosts.cost_model import (
    HOSTS,
    LINKS_GBIT,
    PAYLOAD,
    Link,
    StepCosts,
    bytes_sent,
    calibrated,
    efficiency,
    predictions,
    step_s,
    wire_s,
)
from hvd_train.bench.hosts.ping_pong import pairs, slowest
from hvd_train.errors import UserError

# Without latency 1.53 MB both ways at 1 Gbit/s take 13.1 ms (measured between two namespaces, see docs).
FAST = Link(0.0, 117e6)


def test_two_hosts_send_the_gradients_once_and_many_send_them_twice() -> None:
    assert bytes_sent(8.0, 2) == 8.0
    assert bytes_sent(8.0, 1024) == pytest.approx(16.0, rel=1e-2)
    assert float(wire_s(1.53e6, 2, FAST)) == pytest.approx(13.1e-3, rel=0.01)


def test_a_short_message_costs_rounds_and_a_long_one_bytes() -> None:
    link = Link(1e-4, 1e9)
    assert float(wire_s(8, 8, link)) == pytest.approx(3e-4, rel=1e-3), "recursive doubling: log2(8) messages"
    assert float(wire_s(1e9, 8, link)) == pytest.approx(2 * 7 / 8 + 6e-4, rel=1e-6), "2(H-1)/H of the bytes"


def test_the_best_algorithm_is_never_worse_with_fewer_hosts_or_a_faster_link() -> None:
    hosts = np.array(HOSTS)
    for gbit in LINKS_GBIT:
        seconds = wire_s(1.5e6, hosts, Link.of_rate(gbit, 30e-6))
        assert (np.diff(seconds) > 0).all()
    shares = [float(efficiency(StepCosts(6e-3, 1.5e6), 4, Link.of_rate(gbit, 30e-6))) for gbit in LINKS_GBIT]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_full_overlap_leaves_the_larger_of_the_two() -> None:
    costs = StepCosts(6e-3, 1.53e6, overlap=1.0)
    assert float(step_s(costs, 2, FAST)) == pytest.approx(max(6e-3, 1.53e6 / 117e6))
    assert float(step_s(costs, 2, Link(0.0, 1e9))) == pytest.approx(6e-3)


def test_local_steps_divide_the_exchange_and_hide_nothing() -> None:
    costs = StepCosts(6e-3, 1.53e6, overhead_s=2e-3, overlap=0.5)
    wire = 1.53e6 / 117e6
    assert float(step_s(costs, 2, FAST, local_steps=16)) == pytest.approx(6e-3 + (1e-3 + wire) / 16)


@pytest.mark.parametrize("measured", [5.1e-3, 7e-3, 19.1e-3, 27.8e-3])
@pytest.mark.parametrize("hosts", [2, 4])
def test_a_calibrated_model_gives_the_step_that_it_was_calibrated_on(measured: float, hosts: int) -> None:
    costs = calibrated(5e-3, measured, 1.53e6, hosts, FAST)
    assert float(step_s(costs, hosts, FAST)) == pytest.approx(max(measured, float(wire_s(1.53e6, hosts, FAST))))
    assert costs.overhead_s == 0 or costs.overlap == 0


def test_a_line_through_measured_messages_gives_latency_and_rate() -> None:
    sizes = [8, 4096, 65536, 2**20, 2**24]
    link = Link.fitted(sizes, [30e-6 + size / 1.17e8 for size in sizes])
    assert link.latency_s == pytest.approx(30e-6, rel=1e-3)
    assert link.bytes_per_s == pytest.approx(1.17e8, rel=1e-3)


def test_predictions_say_that_they_are_predictions() -> None:
    rows = predictions(StepCosts(6e-3, 1.53e6), 30e-6)
    assert all(row["predicted"] for row in rows)
    assert {row["link_gbit"] for row in rows} == set(LINKS_GBIT)
    assert list(rows[0]["efficiency"]) == [str(2**n) for n in range(1, 11)]


def test_every_pair_of_few_hosts_and_a_ring_of_many() -> None:
    assert len(pairs(16)) == 120
    many = pairs(64)
    assert len(many) == 64 + 32
    assert {host for pair in many for host in pair} == set(range(64))


def test_the_slowest_pair_is_named() -> None:
    found = [
        {"hosts": ["a", "b"], "latency_s": 1e-5, "bytes_per_s": 1e8},
        {"hosts": ["a", "c"], "latency_s": 3e-5, "bytes_per_s": 9e8},
    ]
    assert slowest(found)["latency"]["hosts"] == ["a", "c"]
    assert slowest(found)["bandwidth"]["hosts"] == ["a", "b"]


def answers(num_hosts: int) -> list[dict]:
    def turns(step_s: float) -> list[dict]:
        return [{"seconds": step_s * 10, "cpu_seconds": 1.0, "executions": [step_s * 5] * 2}]

    return [
        {
            "host": f"node{n % num_hosts}",
            "steps_per_execution": 5,
            "gradient_bytes": 1_530_000,
            "kinds": {"one batch": turns(0.02), "no allreduce": turns(0.006)},
        }
        for n in range(4)
    ]


def links() -> dict:
    seconds = [30e-6 + size / (1e9 / 8 * PAYLOAD) for size in measure.SIZES]
    return measure.of_links({"hosts": ["node0", "node1"], "pairs": [{"hosts": ["node0", "node1"], "seconds": seconds}]})


def test_what_is_written_and_shown(tmp_path: Path) -> None:
    found = links() | measure.modelled(answers(2), links())
    assert found["step"]["efficiency"] == pytest.approx(0.3)
    assert found["step"]["bytes_sent_by_a_host"] == 1_530_000
    assert found["model"]["overhead_s"] > 0
    titles = [str(table.title) for table in presentation.tables(found)]
    assert "node0 and node1" in titles[0]
    assert sum("PREDICTED" in title for title in titles) == 2
    assert presentation.picture(found, tmp_path / "hosts.png", "2 cores").stat().st_size > 0


def test_ranks_of_one_host_are_no_measurement_between_hosts() -> None:
    with pytest.raises(UserError, match="all 4 ranks ran on node0"):
        measure.modelled(answers(1), links())


def test_it_needs_a_hostfile_of_two(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--hostfile"):
        measure.require_hosts(None)
    (tmp_path / "hosts").write_text("node0 slots=4\n")
    with pytest.raises(UserError, match="names one alone: node0"):
        measure.require_hosts(tmp_path / "hosts")
    (tmp_path / "hosts").write_text("node0 slots=4\nnode1 slots=2\n")
    assert measure.require_hosts(tmp_path / "hosts") == (2, 6)
