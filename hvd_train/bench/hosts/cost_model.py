"""The cost model of a step between hosts: T = compute + exchange - overlap. Pure; seconds and bytes.

Between hosts each host sends 2(H-1)/H of the gradients, whatever the number of ranks on it. The exchange has two parts: the
wire, which follows latency and rate, and an overhead, which is the work of the CPU on the messages. The latency terms follow
Thakur, Rabenseifner and Gropp 2005, "Optimization of Collective Communication Operations in MPICH".

Left out: hosts of different speed, links that hosts share (a switch that is not free of blocking), and congestion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOSTS = tuple(2**n for n in range(1, 11))  # 2 to 1,024
LINKS_GBIT = (0.1, 1.0, 10.0, 25.0, 100.0)
# Bytes of a message in a full Ethernet frame of 1,538 bytes on the wire: 1,448 after the headers of TCP and IP.
PAYLOAD = 1448 / 1538


@dataclass(frozen=True)
class Link:
    """Between two hosts, in each direction at once."""

    latency_s: float
    bytes_per_s: float

    @classmethod
    def of_rate(cls, gbit: float, latency_s: float) -> Link:
        """An Ethernet link of `gbit` Gbit/s that carries full frames."""
        return cls(latency_s, gbit * 1e9 / 8 * PAYLOAD)

    @classmethod
    def fitted(cls, sizes: Sequence[float], seconds: Sequence[float]) -> Link:
        """The line seconds = latency + size / rate through measured messages, by least squares of the relative error."""
        size, took = np.asarray(sizes, float), np.asarray(seconds, float)
        terms = np.stack([1 / took, size / took], axis=1)
        latency, per_byte = np.linalg.lstsq(terms, np.ones_like(took), rcond=None)[0]
        return cls(max(float(latency), 0.0), 1 / max(float(per_byte), 1e-15))


@dataclass(frozen=True)
class StepCosts:
    """A step, apart from the links."""

    compute_s: float
    """A step without exchange."""
    gradient_bytes: float
    overhead_s: float = 0.0
    """Of the exchange beside the wire, between so many hosts that all bytes are sent twice."""
    overlap: float = 0.0
    """Share of min(compute, wire) in which both go on at once."""


def wire_s(num_bytes: float, hosts: int | NDArray[np.int64], link: Link) -> NDArray[np.float64]:
    """Seconds of the best allreduce of `num_bytes` between `hosts` hosts.

    Ring: 2(H-1) messages one after the other. Rabenseifner: 2 log2(H). Both carry 2(H-1)/H of the bytes. Recursive doubling:
    log2(H) messages, each of all bytes.
    """
    H = np.asarray(hosts, float)
    rounds = np.ceil(np.log2(H))
    most = 2 * (H - 1) / H * num_bytes / link.bytes_per_s
    ring = 2 * (H - 1) * link.latency_s + most
    rabenseifner = 2 * rounds * link.latency_s + most
    doubling = rounds * (link.latency_s + num_bytes / link.bytes_per_s)
    best: NDArray[np.float64] = np.minimum(np.minimum(ring, rabenseifner), doubling)
    return best


def bytes_sent(num_bytes: float, hosts: int) -> float:
    """Bytes that each host sends in a step: 2(H-1)/H of the gradients."""
    return 2 * (hosts - 1) / hosts * num_bytes


def step_s(
    costs: StepCosts, hosts: int | NDArray[np.int64], link: Link, *, local_steps: int = 1
) -> NDArray[np.float64]:
    """Seconds of a step. With local steps the weights, as many bytes as the gradients, are exchanged once in so many."""
    H = np.asarray(hosts, float)
    wire = wire_s(costs.gradient_bytes, hosts, link)
    overhead = costs.overhead_s * (H - 1) / H
    overlap = costs.overlap * np.minimum(costs.compute_s, wire)
    if local_steps > 1:  # nothing is computed meanwhile
        wire, overhead, overlap = wire / local_steps, overhead / local_steps, np.zeros_like(wire)
    seconds: NDArray[np.float64] = costs.compute_s + overhead + wire - overlap
    return seconds


def efficiency(
    costs: StepCosts, hosts: int | NDArray[np.int64], link: Link, *, local_steps: int = 1
) -> NDArray[np.float64]:
    """Share of a step that is computing: 1 where the exchange costs nothing."""
    share: NDArray[np.float64] = costs.compute_s / step_s(costs, hosts, link, local_steps=local_steps)
    return share


def calibrated(compute_s: float, measured_s: float, gradient_bytes: float, hosts: int, link: Link) -> StepCosts:
    """The costs that give the measured step of `hosts` hosts: what the wire does not explain is overhead, or overlap.

    One measurement tells the two apart only by their sign: a step that is shorter than compute and wire together has overlap.
    """
    wire = float(wire_s(gradient_bytes, hosts, link))
    rest = measured_s - compute_s - wire
    if rest >= 0:
        return StepCosts(compute_s, gradient_bytes, overhead_s=rest * hosts / (hosts - 1))
    share = min(1.0, -rest / min(compute_s, wire))
    return StepCosts(compute_s, gradient_bytes, overlap=share)


def predictions(costs: StepCosts, latency_s: float, *, local_steps: Sequence[int] = (1, 16)) -> list[dict[str, Any]]:
    """Efficiency by link and number of hosts. Predicted, not measured."""
    hosts = np.array(HOSTS)
    rows = []
    for steps in local_steps:
        for gbit in LINKS_GBIT:
            link = Link.of_rate(gbit, latency_s)
            shares = efficiency(costs, hosts, link, local_steps=steps)
            rows.append(
                {
                    "predicted": True,
                    "local_steps": steps,
                    "link_gbit": gbit,
                    "efficiency": {str(h): float(share) for h, share in zip(HOSTS, shares, strict=True)},
                }
            )
    return rows


def as_document(costs: StepCosts, link: Link) -> dict[str, Any]:
    """The parameters of the model, as bench.json has them."""
    return {"formula": "T = compute + exchange - overlap", **asdict(costs), "link": asdict(link)}
