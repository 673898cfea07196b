"""Local steps and the cost model on slow links, between hosts that are network namespaces of this machine. As root.

    python benchmarks/slow_links.py speed --out benchmarks/results       # samples/s by local steps at 1 Gbit/s and 100 Mbit/s
    python benchmarks/slow_links.py model --out benchmarks/results       # the model's predictions beside measured steps

`model` calibrates the model on two hosts at 1 Gbit/s, and predicts the others from their own step without exchange.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import records
from wire import jobs, rates

from hvd_train.bench.hosts import measure
from hvd_train.bench.hosts.cost_model import Link, calibrated, step_s
from hvd_train.bench.session import with_batch
from hvd_train.config.recipes import recipe

MODEL_RATES = ["1000", "10000"]
CALIBRATED = ("2x1", "1000")
SPEED_RATES = ("1000", "100")
LOCAL_STEPS = (1, 4, 16, 64)
LIMIT_S = 150.0


@contextmanager
def laboratory(num_hosts: int) -> Iterator[Any]:
    from namespaces import hosts_in

    with tempfile.TemporaryDirectory(prefix="hvd_train-links-") as root, hosts_in(Path(root), num_hosts) as lab:
        yield lab


def speed(given: argparse.Namespace) -> dict[str, Any]:
    """Samples a second of whole runs of `hvd-train train` on two hosts with a rank each, as many workers as ranks."""
    found = measured_today(given)
    with laboratory(2) as lab:
        for repeat in range(given.repeats):
            for steps in records.in_turn(map(str, LOCAL_STEPS), repeat):
                for rate in SPEED_RATES:
                    if len(found.get(rate, {}).get(steps, [])) > repeat:
                        continue
                    lab.limit(rates.mbit_per_s(rate))
                    run_dir = lab.root / f"{rate}-{steps}-{repeat}"
                    flags = ["--recipe", "reference", "--num-songs", given.num_songs, "--num-epochs", 2]
                    if int(steps) > 1:
                        flags += ["--local-steps", steps, "--virtual-workers", 2]
                    program = [Path(sys.prefix) / "bin" / "hvd-train", "train", *flags, "--run-dir", run_dir]
                    finish(lab, lab.mpirun(1, *map(str, program)))
                    history = json.loads((run_dir / "report.json").read_text())["history"]
                    # The second epoch: the first one traces the graph.
                    found.setdefault(rate, {}).setdefault(steps, []).append(history[-1]["samples_per_s"])
                    print(rate, steps, history[-1]["samples_per_s"], file=sys.stderr, flush=True)
                    records.save(given.out, "slow-links", records.header() | of_speed(found, given))
    return of_speed(found, given)


def measured_today(given: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Samples a second by rate and local steps from the day's file, so that the table can be made in pieces."""
    path = given.out / records.file_name("slow-links", records.header()) if given.out else None
    found: dict[str, dict[str, list[float]]] = {}
    if path is not None and path.exists():
        before = json.loads(path.read_text())
        for row in before["rows"] if before["num_songs"] == given.num_songs else []:
            found.setdefault(row["rate"], {})[str(row["local_steps"])] = row["samples_per_s"]
    return found


def of_speed(found: dict[str, dict[str, list[float]]], given: argparse.Namespace) -> dict[str, Any]:
    """What is known so far. Pure."""
    rows = [
        {"rate": rate, "local_steps": int(steps), "samples_per_s": values, "median": statistics.median(values)}
        for rate, of_rate in found.items()
        for steps, values in sorted(of_rate.items(), key=lambda item: int(item[0]))
    ]
    return {"hosts": 2, "ranks_per_host": 1, "num_songs": given.num_songs, "rows": rows}


def finish(lab: Any, command: list[str]) -> str:
    with lab.running(0, *command, timeout_s=LIMIT_S) as job:
        finished = job.wait(LIMIT_S)
    if finished.code:
        raise SystemExit(finished.output[-3000:])
    return str(finished.output)


def model(given: argparse.Namespace) -> dict[str, Any]:
    """Measured steps of two and four hosts, and what the model says about them."""
    config = with_batch(recipe("reference")).replace(table={"num_songs": given.num_songs})
    measured: dict[tuple[str, str], dict[str, float]] = {}
    latency_s: dict[str, float] = {}
    result: dict[str, Any] = {}
    for layout in ("2x1", "4x1"):
        with laboratory(int(layout[0])) as lab:
            latency_s[layout] = measured_latency(lab)
            for rate in MODEL_RATES:
                # A job chooses its groups once, by the links that it finds.
                lab.limit(rates.mbit_per_s(rate))
                plan = jobs.Plan(rates=[rate], seconds=1.0, rounds=given.repeats, ranks_per_host=1)
                found, about = jobs.ours(lab, plan, config)
                num_bytes = float(about["gradient_bytes"])
                measured[layout, rate] = {
                    name: statistics.median(one[name] for one in found[rate]) / 1000 for name in ("step_ms", "alone_ms")
                }
        result = {"gradient_bytes": num_bytes, "latency_s": latency_s, "rows": compared(measured, latency_s, num_bytes)}
        records.save(given.out, "cost-model", records.header() | result)
    return result


def measured_latency(lab: Any) -> float:
    out = lab.root / "links"
    spec = {"sizes": measure.SIZES, "seconds": 0.02, "out": str(out)}
    finish(lab, lab.mpirun(1, sys.executable, "-m", "hvd_train.bench.hosts.ping_pong", json.dumps(spec)))
    return float(measure.of_links(json.loads(out.read_text()))["slowest"]["latency"]["latency_s"])


def compared(
    measured: dict[tuple[str, str], dict[str, float]], latency_s: dict[str, float], num_bytes: float
) -> list[dict[str, Any]]:
    """A row for each layout and rate. Pure."""
    rows = []
    base = measured[CALIBRATED]
    link = Link.of_rate(float(CALIBRATED[1]) / 1000, latency_s[CALIBRATED[0]])
    costs = calibrated(base["alone_ms"], base["step_ms"], num_bytes, int(CALIBRATED[0][0]), link)
    for (layout, rate), found in measured.items():
        of_layout = type(costs)(found["alone_ms"], num_bytes, costs.overhead_s, costs.overlap)
        predicted = step_s(of_layout, int(layout[0]), Link.of_rate(float(rate) / 1000, latency_s[layout]))
        rows.append(
            {
                "hosts": int(layout[0]),
                "link": f"{float(rate) / 1000:g} Gbit/s",
                "calibrated": (layout, rate) == CALIBRATED,
                "compute_s": found["alone_ms"],
                "measured_s": found["step_ms"],
                "predicted_s": float(predicted),
            }
        )
    return rows


KINDS = {"speed": ("slow-links", speed), "model": ("cost-model", model)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(KINDS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--num-songs", type=int, default=45_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    records.check(parser, out=given.out)
    from namespaces import why_not

    if reason := why_not(limited=True):
        parser.error(f"the laboratory cannot be made: {reason}")
    kind, action = KINDS[given.what]
    records.save(given.out, kind, records.header() | action(given))


if __name__ == "__main__":
    records.run(main)
