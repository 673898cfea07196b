"""The tables and pictures of a bench. Pictures are written without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table


def tables(result: dict[str, Any]) -> list[Table]:
    """One for each measure that is there."""
    found = []
    if "throughput" in result:
        found += [_throughput(result["throughput"]), _start(result["throughput"])]
    if "efficiency" in result:
        found.append(_efficiency(result["efficiency"]))
    if "scaling" in result:
        found.append(_scaling(result["scaling"]))
    if "allreduce" in result:
        found += [_allreduce(one) for one in result["allreduce"]]
    if "hosts" in result:
        from hvd_train.bench.hosts import presentation

        found += presentation.tables(result["hosts"])
    return found


def new_table(title: str, *columns: str) -> Table:
    """Empty; the first column is of names, the others are of figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _throughput(rows: list[dict[str, Any]]) -> Table:
    table = new_table(
        "Throughput", "ranks", "samples/s", "by rank", "step ms (p95)", "compute", "allreduce", "input", "idle"
    )
    for row in rows:
        shares = (f"{100 * row['shares'][name]:.1f} %" for name in ("compute", "allreduce", "input"))
        by_rank = " ".join(f"{rate:,.0f}" for rate in row["samples_per_s_by_rank"])
        steps = f"{row['step_ms_median']:.2f} ({row['step_ms_p95']:.2f})"
        table.add_row(
            str(row["size"]), f"{row['samples_per_s']:,.0f}", by_rank, steps, *shares, f"{100 * row['idle']:.1f} %"
        )
    return table


def _start(rows: list[dict[str, Any]]) -> Table:
    names = list(rows[0]["start"])
    table = new_table("Seconds to the first step", "ranks", *names)
    for row in rows:
        table.add_row(str(row["size"]), *(f"{row['start'][name]:.2f}" for name in names))
    return table


def _with_spread(figures: dict[str, float], *, percent: bool = False) -> str:
    if percent:
        return f"{100 * figures['median']:.1f} % ({100 * figures['min']:.1f} to {100 * figures['max']:.1f})"
    return f"{figures['median']:,.0f} ({figures['min']:,.0f} to {figures['max']:,.0f})"


def _efficiency(rows: list[dict[str, Any]]) -> Table:
    table = new_table("Against independent processes", "ranks", "samples/s", "independent", "efficiency")
    for row in rows:
        together, apart = row["samples_per_s"], row["samples_per_s_independent"]
        efficiency = _with_spread(row["efficiency"], percent=True)
        table.add_row(str(row["size"]), _with_spread(together), _with_spread(apart), efficiency)
    return table


def _scaling(rows: list[dict[str, Any]]) -> Table:
    table = new_table("Scaling", "ranks", "weak, samples/s", "strong, samples/s")
    for size in sorted({row["size"] for row in rows}):
        cells = {row["kind"]: _with_spread(row["samples_per_s"]) for row in rows if row["size"] == size}
        table.add_row(str(size), cells["weak"], cells["strong"])
    return table


def _allreduce(one: dict[str, Any]) -> Table:
    memory = one["memory_bytes_per_s"] / 1e9
    title = f"Allreduce on {one['size']} ranks (all of them copy memory at {memory:.1f} GB/s)"
    table = new_table(title, "message", "Horovod ms", "GB/s", "MPI alone ms", "GB/s ")
    for line in one["sizes"]:
        cells = [f"{1000 * line['horovod']:.3f}", f"{line['horovod_bus_bytes_per_s'] / 1e9:.2f}"]
        cells += [f"{1000 * line['mpi']:.3f}", f"{line['mpi_bus_bytes_per_s'] / 1e9:.2f}"]
        table.add_row(_bytes(line["bytes"]), *cells)
    return table


def _bytes(size: float) -> str:
    """1024 -> 1 KiB."""
    return f"{size / 2**20:g} MiB" if size >= 2**20 else f"{size / 2**10:g} KiB"


def pictures(result: dict[str, Any], folder: Path) -> list[Path]:
    """scaling.png, allreduce.png and hosts.png, where those were measured."""
    written = []
    if "scaling" in result:
        written.append(_picture_of_scaling(result["scaling"], folder / "scaling.png", result["about"]["machine"]))
    if result.get("allreduce"):
        written.append(_picture_of_allreduce(result["allreduce"], folder / "allreduce.png", result["about"]["machine"]))
    if "hosts" in result:
        from hvd_train.bench.hosts import presentation

        written.append(presentation.picture(result["hosts"], folder / "hosts.png", result["about"]["machine"]))
    return written


def _picture_of_scaling(rows: list[dict[str, Any]], path: Path, machine: str) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for kind in ("weak", "strong"):
        of_kind = sorted((row["size"], row["samples_per_s"]) for row in rows if row["kind"] == kind)
        sizes = [size for size, _ in of_kind]
        medians = [rate["median"] for _, rate in of_kind]
        errors = [[r["median"] - r["min"] for _, r in of_kind], [r["max"] - r["median"] for _, r in of_kind]]
        axes.errorbar(sizes, medians, yerr=errors, marker="o", capsize=3, label=kind)
    smallest = min(row["size"] for row in rows)
    base = next(r["samples_per_s"]["median"] for r in rows if r["size"] == smallest and r["kind"] == "weak")
    every = sorted({row["size"] for row in rows})
    axes.plot(every, [base * size / smallest for size in every], "--", color="gray", label="ideal")
    axes.set(xlabel="ranks", ylabel="samples/s over all ranks", title=machine)
    axes.set_xticks(every)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return path


def _picture_of_allreduce(measured: list[dict[str, Any]], path: Path, machine: str) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for one in measured:
        sizes = [line["bytes"] for line in one["sizes"]]
        for way, style in (("horovod", "-"), ("mpi", ":")):
            rates = [line[f"{way}_bus_bytes_per_s"] / 1e9 for line in one["sizes"]]
            axes.plot(sizes, rates, style, marker=".", label=f"{way}, {one['size']} ranks")
        memory = one["memory_bytes_per_s"] / one["size"] / 1e9
        axes.axhline(memory, color="gray", linestyle="--", linewidth=1, label=f"memory of each of {one['size']} ranks")
    axes.set(
        xscale="log", yscale="log", xlabel="bytes of a message", ylabel="GB/s on the bus of each rank", title=machine
    )
    axes.legend(frameon=False)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=120)
    return path
