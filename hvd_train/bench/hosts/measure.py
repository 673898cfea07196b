"""`hvd-train bench --hosts`: what it runs, and what it writes under "hosts" in bench.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvd_train.bench import figures
from hvd_train.bench.hosts.cost_model import Link, as_document, bytes_sent, calibrated, predictions
from hvd_train.bench.hosts.ping_pong import slowest
from hvd_train.errors import UserError
from hvd_train.hostfiles import read_hostfile
from hvd_train.processes import jobs

if TYPE_CHECKING:
    from hvd_train.bench.session import Session

SIZES = tuple(8 * 8**n for n in range(8))  # 8 bytes to 16 MiB
PAIR_S = 0.1
LIMIT_S = 240.0


def require_hosts(hostfile: Path | None) -> tuple[int, int]:
    """The numbers of hosts and of their slots, or UserError."""
    if hostfile is None:
        raise UserError("--hosts measures between the hosts of a hostfile: name it by --hostfile.")
    hosts = read_hostfile(hostfile)
    if len(hosts) < 2:
        raise UserError(f"--hosts measures between hosts, and {hostfile} names one alone: {hosts[0]}.")
    return len(hosts), sum(host.slots or 1 for host in hosts)


def measure_hosts(session: Session) -> dict[str, Any]:
    """Links pair by pair, a step with and without its exchange, and the prediction of the model for other hosts and links."""
    settings = session.settings
    num_hosts, num_slots = require_hosts(settings.hostfile)
    session.told(f"latency and bandwidth between {num_hosts} hosts")
    links = measured_links(session, num_hosts)
    size = max(settings.sizes) if settings.sizes_given else num_slots
    session.told(f"steps of {size} ranks with and without their exchange")
    job = session.ranks(size, settings.config, parts=True, num_rounds=settings.num_repeats)
    return links | modelled(job["ranks"], links)


def measured_links(session: Session, num_hosts: int) -> dict[str, Any]:
    out = Path(session.scratch.name) / "links"
    spec = {"sizes": SIZES, "seconds": min(PAIR_S, session.settings.seconds), "out": str(out)}
    program = [sys.executable, "-m", "hvd_train.bench.hosts.ping_pong", json.dumps(spec)]
    jobs.run([jobs.mpirun(num_hosts, program, hostfile=session.settings.hostfile, by="node")], limit_s=LIMIT_S)
    return of_links(json.loads(out.read_text()))


def of_links(answer: dict[str, Any]) -> dict[str, Any]:
    """The link of each pair, and the slowest. Pure."""
    found = []
    for pair in answer["pairs"]:
        link = Link.fitted(SIZES, pair["seconds"])
        found.append(pair | {"sizes": list(SIZES), "latency_s": pair["seconds"][0], "bytes_per_s": link.bytes_per_s})
    return {"names": answer["hosts"], "pairs": found, "slowest": slowest(found)}


def modelled(ranks: list[dict[str, Any]], links: dict[str, Any]) -> dict[str, Any]:
    """The measured step, the model that follows from it and from the slowest link, and its predictions. Pure."""
    num_hosts = len({rank["host"] for rank in ranks})
    if num_hosts < 2:
        raise UserError(f"--hosts: all {len(ranks)} ranks ran on {ranks[0]['host']}. Give --np a rank for each host.")
    compute, step = figures.step_seconds(ranks, "no allreduce"), figures.step_seconds(ranks, "one batch")
    if "update" in ranks[0]["kinds"]:
        compute -= figures.step_seconds(ranks, "update") * (1 - 1 / len(ranks))
    slow = links["slowest"]
    link = Link(slow["latency"]["latency_s"], slow["bandwidth"]["bytes_per_s"])
    num_bytes = float(ranks[0]["gradient_bytes"])
    costs = calibrated(compute, step, num_bytes, num_hosts, link)
    return {
        "step": {
            "hosts": num_hosts,
            "ranks": len(ranks),
            "compute_s": compute,
            "step_s": step,
            "efficiency": compute / step,
            "bytes_sent_by_a_host": bytes_sent(num_bytes, num_hosts),
        },
        "model": as_document(costs, link),
        "predictions": predictions(costs, link.latency_s),
    }
