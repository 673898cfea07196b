"""The tables of docs/concepts/failures.md: what `kills.py` measured. `performance_tables.py` writes them."""

from __future__ import annotations

from typing import Any

from faults.plan import WORDS
from faults.story import PHASES
from pages import source, table

NOTHING = "none"


def kills(found: dict[str, Any]) -> str:
    """What faults cost, and what they changed. A column for each place."""
    result = found["kills"]
    parts: dict[str, Any] = result["parts"]
    lines = [
        ("faults", *(str(part["faults"]) for part in parts.values())),
        (
            "load average of the machine, over 15 minutes",
            *(f"{part['load_average']:.0f}" if "load_average" in part else "not measured" for part in parts.values()),
        ),
        ("steps of the run, and its seconds without a fault", *(steps(part) for part in parts.values())),
        ("seconds from a fault to the next step: median", *(one(part, "seconds", "median") for part in parts.values())),
        ("95th percentile", *(one(part, "seconds", "p95") for part in parts.values())),
        ("most", *(one(part, "seconds", "max") for part in parts.values())),
        ("steps computed again: median", *(one(part, "lost_steps", "median", 0) for part in parts.values())),
        ("most", *(one(part, "lost_steps", "max", 0) for part in parts.values())),
        ("steps from one checkpoint to the next", *(str(part["checkpoint_every_steps"]) for part in parts.values())),
        (
            "arrays, losses or metrics that differ from the run without faults",
            *(str(len(part["differences"]) or NOTHING) for part in parts.values()),
        ),
        (
            "processes and files that are left over",
            *(str(len(part["processes_left"] + part["files_left"]) or NOTHING) for part in parts.values()),
        ),
    ]
    heads = ["", *(f"{hosts}, {part['ranks']} ranks" for hosts, part in parts.items())]
    return table(heads, lines) + source(result)


def faults(found: dict[str, Any]) -> str:
    """Seconds to the next step by the kind of fault."""
    parts: dict[str, Any] = found["kills"]["parts"]
    lines = []
    for kind, words in WORDS.items():
        cells = [spread(part["by_kind"].get(kind)) for part in parts.values()]
        if any(cells):
            lines.append((words, *(cell or "-" for cell in cells)))
    return table(["seconds to the next step, median and most (number)", *parts], lines) + source(found["kills"])


def recovery(found: dict[str, Any]) -> str:
    """Where the seconds go: the median of each phase."""
    parts: dict[str, Any] = found["kills"]["parts"]
    lines = [(name, *(f"{part['phases_s'].get(name, 0.0):.1f} s" for part in parts.values())) for name in PHASES]
    return table(["median", *parts], lines) + source(found["kills"])


def one(part: dict[str, Any], what: str, figure: str, digits: int = 1) -> str:
    return f"{part[what][figure]:.{digits}f}" if part[what] else "-"


def steps(part: dict[str, Any]) -> str:
    return f"{part['steps']:,} in {part['undisturbed_s']:.0f} s"


def spread(of_kind: dict[str, Any] | None) -> str:
    if not of_kind or not of_kind["seconds"]:
        return ""
    seconds = of_kind["seconds"]
    return f"{seconds['median']:.1f}, {seconds['max']:.1f} ({seconds['number']})"
