"""What the programs that make a page of docs/ from benchmarks/results share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


class NotMeasured(Exception):
    """There is no result of this kind."""


def newest(kind: str, cpu: str | None = None) -> dict[str, Any]:
    """The result of this kind whose file name, which ends with the date, comes last; its name under "file".

    With `cpu` the newest that was measured on such a one.
    """
    for path in sorted(RESULTS.glob(f"{kind}_*.json"), reverse=True):
        result = {**json.loads(path.read_text()), "file": path.name}
        if cpu is None or cpu_of(result) == cpu:
            return result
    raise NotMeasured(kind)


def cpu_of(result: dict[str, Any]) -> str:
    """Of the line that names its machine: "2 cores, AMD EPYC, Linux 6.18"."""
    return str(result["machine"]).split(", ")[1]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the figures to the right."""
    rule = "|" + "|".join(["---", *["--:"] * (len(heads) - 1)]) + "|"
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)])
