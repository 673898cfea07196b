"""Write the tables of the pages in docs/ that have figures from benchmarks/results.

    python benchmarks/performance_tables.py            (--check: only tell whether the pages are up to date)

Each table is between `<!-- NAME -->` and `<!-- end -->`. No figure of these pages is typed by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
from dataclasses import dataclass
from typing import Any

from data_tables import data_convert, predict, spark_convert, synthetic_songs
from engine_tables import kill_engine, spark_kills, strategies, tensorflow_engine
from hosts_tables import between_hosts, draw, hosts_layouts, hosts_targets, mpi_settings
from link_tables import cost_model, local_steps, slow_links
from pages import DOCS, NotMeasured, cpu_of, date_of, newest, renamed, results, source, table
from recovery_tables import faults, kills, recovery
from start_tables import start, start_phases

PAGES = (
    *(DOCS / "how-to" / name for name in ("performance.md", "slow-links.md", "tensorflow-engine.md")),
    DOCS / "reference" / "performance-log.md",
    DOCS / "reference" / "dataset-directory.md",
    DOCS / "concepts" / "synthetic-songs.md",
    DOCS / "concepts" / "failures.md",
    DOCS / "how-to" / "spark.md",
)


class Results(dict[str, dict[str, Any]]):
    """The newest result of a kind (on a CPU), read when a table asks for it."""

    def __init__(self, cpu: str | None = None) -> None:
        self.cpu = cpu

    def __missing__(self, kind: str) -> dict[str, Any]:
        self[kind] = newest(kind, self.cpu)
        return self[kind]


def thousands(figures: dict[str, float]) -> str:
    return f"{figures['median']:,.0f} ({figures['min']:,.0f} to {figures['max']:,.0f})"


def ratio(figures: dict[str, float]) -> str:
    return f"{figures['median']:.2f} ({figures['min']:.2f} to {figures['max']:.2f})"


def peers(found: dict[str, Any]) -> str:
    result = found["peers"]
    ordered = sorted(result["rows"].items(), key=lambda item: -item[1]["samples_per_s"]["median"])
    lines = [(name, thousands(row["samples_per_s"]), ratio(row["ours_to_it"])) for name, row in ordered]
    repeats = ordered[0][1]["samples_per_s"]["repeats"]
    head = ("", "samples/s over both ranks", f"hvd_train against it (median and range of {repeats})")
    return table(head, lines) + source(result)


# The same settings a second time: what this row is off by is the hour's noise.
CONTROL = "the same again"
# The row of the setting that came last: results without it are of another state of the code.
LATEST = "without shared-update"


def settings(found: dict[str, Any]) -> str:
    """Of the quietest hour: differences of a few percent are lost in another."""
    having_all = [result for result in results("settings") if LATEST in result["ratio"]]
    if not having_all:
        raise NotMeasured("settings")
    result = min(having_all, key=lambda r: max(abs(r["ratio"][CONTROL][end] - 1) for end in ("min", "max")))
    measured = result["samples_per_s"]
    lines = []
    for name, share in result["ratio"].items():
        middle = sorted(measured[name])[len(measured[name]) // 2]
        lines.append((name, f"{middle:,.0f}", f"{share['median']:.3f} ({share['min']:.3f} to {share['max']:.3f})"))
    return table(("", "samples/s over all ranks", "against all automatic defaults"), lines) + source(result)


def shares(found: dict[str, Any]) -> str:
    result = found["settings"]
    lines = []
    for name, part in result["two ranks"].items():
        split = tuple(f"{100 * part['shares'][what]:.1f} %" for what in ("compute", "allreduce", "input"))
        lines.append(
            (
                name.replace("batch", "local batch of"),
                f"{part['step_ms_median']:.2f} ms",
                *split,
                f"{100 * part['idle']:.1f} %",
            )
        )
    head = ("", "one step", "compute", "allreduce and waiting", "input", "cores idle")
    return table(head, lines) + source(result)


def threads(found: dict[str, Any]) -> str:
    """What each kind of thread computes in a step, as a share of it: the mean over the ranks."""
    result = found["where"]
    ranks = result["threads_ms_by_rank"]
    kinds = [kind for kind in ranks[0] if kind != "step"]
    whole = sum(rank["step"] for rank in ranks)
    lines = [(kind, f"{100 * sum(rank.get(kind, 0.0) for rank in ranks) / whole:.1f} %") for kind in kinds]
    return table(("threads", "share of a step"), lines) + source(result)


def timeline(found: dict[str, Any]) -> str:
    result = found["where"]
    lines = [(f"`{name}`", f"{ms:.2f} ms") for name, ms in result["timeline_ms"].items()]
    return table(("phase of the slowest gradient, on the root", "median"), lines) + source(result)


def operations(found: dict[str, Any]) -> str:
    result = found["where"]
    lines = [
        (
            renamed(name),
            f"{one['step_ms']:.1f} ms",
            ", ".join(f"{op} {100 * share:.0f} %" for op, share in one["shares"].items()),
        )
        for name, one in result["operations"].items()
    ]
    return table(("recipe", "one step on one core", "operations, by their share"), lines) + source(result)


def replacements(found: dict[str, Any]) -> str:
    result = found["replacements"]
    lines = [
        (renamed(what), *(f"{row['ms'][name]['median']:.2f} ms" for name in ("before", "now")), ratio(row["ratio"]))
        for what, row in result["rows"].items()
    ]
    return table(("on one core", "before", "now", "times as fast"), lines) + source(result)


def targets(found: dict[str, Any]) -> str:
    """The targets and what was measured on each CPU, the newest first. Whether one is met is computed, not judged."""
    of_cpu: dict[str, dict[str, Any]] = {}
    for result in results("settings"):
        of_cpu.setdefault(cpu := cpu_of(result), Results(cpu))
    columns = [measured_targets(its) for its in of_cpu.values()]
    heads = [f"{cpu}, {date_of(its['settings'])[:10]}" for cpu, its in of_cpu.items()]
    rates = [its["settings"]["matmul_flop_per_s"]["median"] / 1e9 for its in of_cpu.values()]
    lines = [(name, f"{one.least:.2f}", *(str(column[name]) for column in columns)) for name, one in columns[0].items()]
    lines.append(("*its GEMM throughput, GFLOP/s of one core*", "", *(f"*{rate:.0f}*" for rate in rates)))
    noise = [ratio(its["settings"]["ratio"][CONTROL]) for its in of_cpu.values()]
    lines.append(("*noise: the same settings again*", "", *(f"*{one}*" for one in noise)))
    return table(("hvd_train against", "target, at least", *heads), lines)


@dataclass(frozen=True)
class Target:
    """The least ratio that is the target, what was measured, and what processes that exchange nothing reach."""

    least: float
    measured: float
    independent: float | None = None

    def __str__(self) -> str:
        beside = "" if self.independent is None else f" ({self.independent:.2f})"
        return f"{self.measured:.2f} {'✓' if self.measured >= self.least else '✗'}{beside}"


def typical(rates: dict[str, list[float]], name: str, other: str) -> float:
    """Median over the repeats of one row's rate divided by another's."""
    return statistics.median(a / b for a, b in zip(rates[name], rates[other], strict=True))


def measured_targets(found: dict[str, Any]) -> dict[str, Target]:
    peer, setting = found["peers"]["samples_per_s"], found["settings"]["ratio"]

    def over(least: float, name: str) -> Target:
        return Target(least, typical(peer, "hvd_train", name), typical(peer, "independent processes", name))

    tuned = [n for n in setting if n.startswith(("cycle", "fusion", "response", "allreduce")) or "gradients in" in n]
    return {
        "two independent processes": Target(0.97, typical(peer, "hvd_train", "independent processes")),
        "stock Horovod on TensorFlow 2.15": over(2.5, "stock Horovod, TF 2.15"),
        "MultiWorkerMirroredStrategy on 2.15": over(4.0, "MultiWorkerMirrored, TF 2.15"),
        "PyTorch DDP with gloo": over(2.3, "PyTorch DDP, gloo"),
        "the best of the settings that were tuned by hand": Target(0.97, 1 / max(setting[n]["median"] for n in tuned)),
        "bfloat16 against float32": Target(1.3, setting["bfloat16"]["median"]),
        "local batch of 32, against independent processes": Target(
            0.85, typical(found["settings"]["samples_per_s"], "batch 32", "batch 32, independent")
        ),
        "4 ranks on two cores against 2": Target(0.90, setting["4 ranks"]["median"]),
        "one core against its GEMM throughput": Target(0.75, found["settings"]["share_of_matmul_rate"]),
    }


def scaling(found: dict[str, Any]) -> str:
    result = found["bench"]
    sizes = sorted({row["size"] for row in result["scaling"]})
    lines = []
    for size in sizes:
        by_kind = {row["kind"]: row["samples_per_s"] for row in result["scaling"] if row["size"] == size}
        lines.append((str(size), thousands(by_kind["weak"]), thousands(by_kind["strong"])))
    return table(("ranks", "weak, samples/s", "strong, samples/s"), lines) + source(result)


def allreduce(found: dict[str, Any]) -> str:
    one = found["bench"]["allreduce"][0]
    lines = [
        (
            f"{line['bytes'] / 1024:,.0f} KiB",
            f"{1000 * line['horovod']:.2f} ms",
            f"{line['horovod_bus_bytes_per_s'] / 1e9:.2f}",
            f"{1000 * line['mpi']:.2f} ms",
            f"{line['mpi_bus_bytes_per_s'] / 1e9:.2f}",
        )
        for line in one["sizes"]
    ]
    text = table(("message", "Horovod", "GB/s", "MPI alone", "GB/s"), lines)
    memory = one["memory_bytes_per_s"] / 1e9
    return f"{text}\n\nBoth ranks at once copy memory at {memory:.1f} GB/s together.{source(found['bench'])}"


TABLES = {
    f.__name__: f
    for f in (
        *(peers, settings, shares, threads, timeline, operations, replacements, start, start_phases),
        *(targets, scaling, allreduce),
        *(synthetic_songs, data_convert, predict, kills, faults, recovery, spark_convert),
        *(local_steps, slow_links, cost_model, tensorflow_engine, strategies, kill_engine, spark_kills),
        *(between_hosts, hosts_targets, hosts_layouts, mpi_settings),
    )
}


def filled(page: str) -> str:
    found = Results()

    def block(match: re.Match[str]) -> str:
        if match[1] not in TABLES:
            return match[0]
        try:
            text = TABLES[match[1]](found)
        except NotMeasured:
            text = "*Not measured yet.*"
        return f"<!-- {match[1]} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path in PAGES if filled(path.read_text()) != path.read_text()]
    if not check:
        for path in stale:
            path.write_text(filled(path.read_text()))
        with contextlib.suppress(NotMeasured):
            draw(Results())
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
