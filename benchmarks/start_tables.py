"""The tables of the start in docs/reference/performance-log.md. `performance_tables.py` writes them."""

from __future__ import annotations

from typing import Any

from pages import source, table


def start(found: dict[str, Any]) -> str:
    """Seconds from the command to the end of the first step and from the last word to the end; before, where that took turns."""
    result = found["start"]
    parts = [(what, result[key]) for what, key in (("start", "seconds"), ("end", "end_seconds"))]
    columns = [(what, which, part) for what, part in parts for which in ("before", "now") if which in part]
    heads = ["seconds: median (least to most)", *(f"{what}, {which}" for what, which, _ in columns)]
    lines = [(name, *(spread(part[which][name]) for _, which, part in columns)) for name in result["seconds"]["now"]]
    return table(heads, lines) + source(result)


def spread(one: dict[str, float]) -> str:
    return f"{one['median']:.1f} ({one['min']:.1f} to {one['max']:.1f})"


def start_phases(found: dict[str, Any]) -> str:
    """Where the seconds of a rank go, as `hvd-train bench` marks them."""
    result = found["settings"]
    split = next(iter(result["two ranks"].values()))["start"]
    return table(list(split), [[f"{seconds:.2f}" for seconds in split.values()]]) + source(result)
