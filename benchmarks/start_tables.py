"""The tables of the start in docs/reference/performance-log.md. `performance_tables.py` writes them."""

from __future__ import annotations

from typing import Any

from pages import source, table


def start(found: dict[str, Any]) -> str:
    """Seconds from the command to the end of the first step, by launcher; before, where that took turns."""
    result = found["start"]
    now, before = result["seconds"]["now"], result["seconds"].get("before", {})
    heads = ["seconds: median (least to most)", *(["before"] if before else []), "now"]
    lines = [(name, *([spread(before[name])] if before else []), spread(one)) for name, one in now.items()]
    return table(heads, lines) + source(result)


def spread(one: dict[str, float]) -> str:
    return f"{one['median']:.1f} ({one['min']:.1f} to {one['max']:.1f})"


def start_phases(found: dict[str, Any]) -> str:
    """Where the seconds of a rank go, as `hvd-train bench` marks them."""
    result = found["settings"]
    split = next(iter(result["two ranks"].values()))["start"]
    return table(list(split), [[f"{seconds:.2f}" for seconds in split.values()]]) + source(result)
