"""The tables and the picture of what `hosts.py` measured between hosts. `performance_tables.py` writes them."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

from hosts_names import BEFORE, CHOSEN, NAMES
from pages import DOCS, NotMeasured, cpu_of, newest, renamed, source, table

from hvd_train.distributed.allreduce import groups_for

PICTURE = DOCS / "images" / "between-hosts.png"
REFERENCE = "2x1 reference"
FLOOR = "plain sockets"
RATES = {
    "unlimited": "not limited",
    "25000": "25 Gbit/s",
    "10000": "10 Gbit/s",
    "1000": "1 Gbit/s",
    "100": "100 Mbit/s",
}
TARGETS = {"unlimited": 0.87, "10000": 0.85}
# At 1 Gbit/s a step is to take at most so much of the limit, and with bfloat16 at least such a share of one without exchange.
OF_LIMIT = 1 / 1.15
OF_ALONE_BFLOAT16 = 0.75


def rows_of(found: dict[str, Any]) -> dict[str, Any]:
    """Of the newest result its rows, and ours of before the exchange between hosts was rebuilt."""
    rows = dict(found["hosts"]["rows"])
    with contextlib.suppress(NotMeasured, KeyError):
        rows[f"{REFERENCE} {BEFORE}"] = newest("hosts-before")["rows"][f"{REFERENCE} ours"]
    return rows | {f"{REFERENCE} {CHOSEN}": as_chosen(rows, REFERENCE)}


def as_chosen(rows: dict[str, Any], what: str) -> dict[str, Any]:
    """By rate the row with as many groups as hvd_train chooses at that rate, where both were measured."""
    two, one = rows[f"{what} ours"], rows.get(f"{what} one-group", {})
    gbit_per_s = {rate: math.inf if rate == "unlimited" else float(rate) / 1000 for rate in two}
    return {rate: one[rate] if groups_for(gbit_per_s[rate]) == 1 and rate in one else two[rate] for rate in two}


def programs(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of two hosts with the reference network, by the program's name; ours first."""
    rows = rows_of(found)
    return {name: rows[f"{REFERENCE} {system}"] for system, name in NAMES.items() if f"{REFERENCE} {system}" in rows}


def between_hosts(found: dict[str, Any]) -> str:
    """Milliseconds of a step by rate of the link, and what share of it a step without exchange takes."""
    by_program = programs(found)
    ours = by_program[NAMES[CHOSEN]]
    heads = ["ms a step (share of its own step without exchange)", *(RATES[rate] for rate in ours)]
    lines = [
        (name, *(step(rates[rate]) if rate in rates else "-" for rate in ours)) for name, rates in by_program.items()
    ]
    lines.append(("*hvd_train without exchange*", *(f"*{one['alone_ms']['median']:.2f}*" for one in ours.values())))
    lines.append(("*the limit: computation or wire*", *(f"*{one['limit_ms']['median']:.2f}*" for one in ours.values())))
    if FLOOR in rows_of(found):
        floor = rows_of(found)[FLOOR]
        cells = (f"*{floor[rate]['ms']['median']:.2f}*" if rate in floor else "-" for rate in ours)
        lines.append(("*plain sockets, the exchange alone*", *cells))
    picture = "![Efficiency against the rate of the link](../images/between-hosts.png)"
    return f"{table(heads, lines)}\n\n{picture}{source(found['hosts'])}"


def step(one: dict[str, Any]) -> str:
    return f"{one['step_ms']['median']:.2f} ({one['of_alone']['median']:.2f})"


def hosts_targets(found: dict[str, Any]) -> str:
    """The targets between two hosts, on each CPU. Whether one is met is computed, not judged."""
    measured = [found["hosts"]]
    with contextlib.suppress(NotMeasured):
        measured.append(found["hosts-layouts"])
    columns = [targets_of(result["rows"]) for result in measured]
    lines = [
        (what, f"{least:.2f}", *(met(column[what]) if what in column else "-" for column in columns))
        for what, (least, _) in columns[0].items()
    ]
    heads = ("between two hosts", "at least", *(cpu_of(result) for result in measured))
    return table(heads, lines) + "".join(map(source, measured))


def targets_of(rows: dict[str, Any]) -> dict[str, tuple[float, dict[str, float]]]:
    """By target the least and what was measured."""
    ours = as_chosen(rows, REFERENCE)
    targets = {
        f"{RATES[rate]}: share of a step without exchange": (least, ours[rate]["of_alone"])
        for rate, least in TARGETS.items()
        if rate in ours
    }
    if "1000" in ours:
        targets["1 Gbit/s: the limit as a share of a step"] = (OF_LIMIT, ours["1000"]["of_limit"])
    if rounded := rows.get(f"{REFERENCE} bfloat16", {}).get("1000"):
        what = "1 Gbit/s, bfloat16 between hosts: share of a step without exchange"
        targets[what] = (OF_ALONE_BFLOAT16, rounded["of_alone"])
    for system in ("ddp", "stock"):
        for rate in ("unlimited", "10000", "1000"):
            peer = rows.get(f"{REFERENCE} {system}", {}).get(rate)
            if peer and rate in ours:
                median = ours[rate]["step_ms"]["median"]
                times = {end: peer["step_ms"][end] / median for end in ("median", "min", "max")}
                targets[f"{RATES[rate]}: times as fast as {NAMES[system]}"] = (2.0, times)
    return targets


def met(target: tuple[float, dict[str, float]]) -> str:
    least, measured = target
    sign = "✓" if measured["median"] >= least else "✗"
    return f"{measured['median']:.2f} {sign} ({measured['min']:.2f} to {measured['max']:.2f})"


def mpi_settings(found: dict[str, Any]) -> str:
    """Milliseconds of a step by MPI's own settings, over those of its own choice."""
    result = found["hosts-mpi"]
    lines = []
    for row, by_rate in result["rows"].items():
        if row == FLOOR:
            continue
        layout, _, system = row.split()
        flat = result["rows"][f"{layout} reference flat"]
        cells = (
            f"{one['step_ms']['median']:.2f} ({one['step_ms']['median'] / flat[rate]['step_ms']['median']:.2f})"
            for rate, one in by_rate.items()
        )
        lines.append((f"{layout}, {NAMES[system]}", *cells))
    rates = next(by_rate for row, by_rate in result["rows"].items() if row.endswith(" flat"))
    return table(("ms a step (over MPI's own choice)", *(RATES[rate] for rate in rates)), lines) + source(result)


def hosts_layouts(found: dict[str, Any]) -> str:
    """What each host sends, and the share of a step without exchange, by layout and recipe."""
    result = found["hosts-layouts"]
    rates = [rate for rate in RATES if any(rate in one for row, one in result["rows"].items() if row.endswith(" ours"))]
    lines = []
    for row, by_rate in result["rows"].items():
        *_, system = row.split()
        if system not in ("ours", "flat"):
            continue
        layout, recipe, _ = row.split()
        if system == "ours":
            by_rate = as_chosen(result["rows"], f"{layout} {recipe}")
        hosts, ranks = layout.split("x")
        shared = ", sharing cores" if result["oversubscribed"].get(layout) else ""
        first = next(iter(by_rate.values()))
        sent = max(one["sent_bytes"]["median"] for one in by_rate.values())
        lines.append(
            (
                f"{hosts} hosts x {ranks} rank{'s' if ranks != '1' else ''}{shared}, {renamed(recipe)}"
                f"{', flat MPI' if system == 'flat' else ''}",
                f"{sent / 1e6:.2f} ({first['least_bytes'] / 1e6:.2f})",
                *(step(by_rate[rate]) if rate in by_rate else "-" for rate in rates),
            )
        )
    heads = ("", "MB a host sends in a step (least)", *(RATES[rate] for rate in rates))
    return table(heads, lines) + source(result)


def draw(found: dict[str, Any], path: Path = PICTURE) -> None:
    """Efficiency against the link's rate: the share of a step that the same step without exchange takes."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    numbers = [rate for rate in RATES if rate != "unlimited"][::-1]
    ends = [*map(float, numbers), 1e5]  # the last: no limit
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    by_program = programs(found)
    for name, rates in by_program.items():
        if name == NAMES[CHOSEN]:
            continue  # its figures are those of one group and of 2
        of = [
            (x, rates[rate]["of_alone"]) for x, rate in zip(ends, [*numbers, "unlimited"], strict=True) if rate in rates
        ]
        xs, ys = [x for x, _ in of], [one["median"] for _, one in of]
        errors = [[y - one["min"] for (_, one), y in zip(of, ys, strict=True)],
                  [one["max"] - y for (_, one), y in zip(of, ys, strict=True)]]  # fmt: skip
        axes.errorbar(xs, ys, errors, marker="o", markersize=4, capsize=2, linewidth=1.5, label=name)
    ours = by_program[NAMES[CHOSEN]]
    limit = [(x, ours[rate]) for x, rate in zip(ends, [*numbers, "unlimited"], strict=True) if rate in ours]
    ys = [one["alone_ms"]["median"] / one["limit_ms"]["median"] for _, one in limit]
    axes.plot([x for x, _ in limit], ys, color="grey", linestyle="--", label="limit: computation or wire")
    axes.set_xscale("log")
    axes.set_xticks(ends, ["100 Mbit/s", "1 Gbit/s", "10 Gbit/s", "25 Gbit/s", "no limit"])
    axes.minorticks_off()
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("step without exchange / step")
    axes.set_xlabel("rate of the link of each host")
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
