"""Tables and the picture of `hvd-train bench --hosts`. Predictions say that they are predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from hvd_train.bench.hosts.cost_model import HOSTS
from hvd_train.bench.presentation import new_table

# Sizes of messages whose times the table has.
SHOWN = (8 * 8**4, 8 * 8**6)


def tables(found: dict[str, Any]) -> list[Table]:
    return [_links(found), _model(found), *_predictions(found["predictions"])]


def _links(found: dict[str, Any]) -> Table:
    slow = found["slowest"]
    worst = (
        f"slowest: {' and '.join(slow['latency']['hosts'])} by latency, "
        f"{' and '.join(slow['bandwidth']['hosts'])} by bandwidth"
    )
    table = new_table(
        f"Between hosts, both ways at once ({worst})", "pair", "latency µs", "Gbit/s", "32 KiB ms", "2 MiB ms"
    )
    # Of many pairs the slowest: bench.json has all.
    ordered = sorted(found["pairs"], key=lambda pair: float(pair["bytes_per_s"]))
    for pair in ordered[:20]:
        at = dict(zip(pair["sizes"], pair["seconds"], strict=True))
        table.add_row(
            " and ".join(pair["hosts"]),
            f"{1e6 * pair['latency_s']:.0f}",
            f"{8 * pair['bytes_per_s'] / 1e9:.2f}",
            *(f"{1000 * at[size]:.3f}" for size in SHOWN),
        )
    return table


def _model(found: dict[str, Any]) -> Table:
    step, model = found["step"], found["model"]
    table = new_table("Measured step, and the model T = compute + exchange - overlap", "", "")
    exchange = step["step_s"] - step["compute_s"]
    for name, text in (
        ("hosts, ranks", f"{step['hosts']}, {step['ranks']}"),
        ("step", f"{1000 * step['step_s']:.2f} ms"),
        ("compute", f"{1000 * step['compute_s']:.2f} ms"),
        ("exchange that is not hidden", f"{1000 * exchange:.2f} ms"),
        ("sent by each host in a step", f"{step['bytes_sent_by_a_host'] / 1e6:.2f} MB"),
        ("model: overhead of the CPU", f"{1000 * model['overhead_s']:.2f} ms"),
        ("model: overlap", f"{100 * model['overlap']:.0f} %"),
        ("efficiency", f"{100 * step['efficiency']:.1f} %"),
    ):
        table.add_row(name, text)
    return table


def _predictions(rows: list[dict[str, Any]]) -> list[Table]:
    found = []
    for steps in sorted({row["local_steps"] for row in rows}):
        what = "PREDICTED efficiency, not measured" + (f", with --local-steps {steps}" if steps > 1 else "")
        table = new_table(what, "Gbit/s", *(f"{hosts:,} hosts" for hosts in HOSTS))
        for row in rows:
            if row["local_steps"] == steps:
                table.add_row(f"{row['link_gbit']:g}", *(f"{row['efficiency'][str(hosts)]:.2f}" for hosts in HOSTS))
        found.append(table)
    return found


def picture(found: dict[str, Any], path: Path, machine: str) -> Path:
    """Predicted efficiency against the number of hosts, a line for each link, with the measured point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(r for r in found["predictions"] if r["local_steps"] == 1):
        shares = [row["efficiency"][str(hosts)] for hosts in HOSTS]
        axes.plot(HOSTS, shares, color=f"C{number}", label=f"{row['link_gbit']:g} Gbit/s")
    for number, row in enumerate(r for r in found["predictions"] if r["local_steps"] > 1):
        shares = [row["efficiency"][str(hosts)] for hosts in HOSTS]
        label = f"with --local-steps {row['local_steps']}" if number == 0 else None
        axes.plot(HOSTS, shares, ":", color=f"C{number}", label=label)
    step = found["step"]
    axes.plot([step["hosts"]], [step["efficiency"]], "k*", markersize=11, label="measured here")
    axes.set(
        xscale="log", xlabel="hosts", ylabel="efficiency", title=f"Predicted, not measured ({machine})", ylim=(0, 1.02)
    )
    axes.set_xticks(HOSTS, [f"{hosts:,}" for hosts in HOSTS])
    axes.legend(frameon=False, fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return path
