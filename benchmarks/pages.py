"""What the programs that make a page of docs/ from benchmarks/results share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
# Recipes by their names in older results. No program writes rows of the recipe `songs` of today where these are read.
RENAMED = {"songs": "synthetic-songs", "songs-cnn": "synthetic-songs-cnn"}


def renamed(name: str) -> str:
    """A recipe, or a row that begins with one ("songs, 512 rows, forward"), by the name of today."""
    recipe, comma, rest = name.partition(", ")
    return RENAMED.get(recipe, recipe) + comma + rest


class NotMeasured(Exception):
    """There is no result of this kind."""


def newest(kind: str, cpu: str | None = None) -> dict[str, Any]:
    """The first of `results`."""
    return results(kind, cpu)[0]


def results(kind: str, cpu: str | None = None) -> list[dict[str, Any]]:
    """All results of this kind, the newest first, each with its file's name under "file"; with `cpu` those of such a one.

    NotMeasured where there is none.
    """
    found = [{**json.loads(path.read_text()), "file": path.name} for path in RESULTS.glob(f"{kind}_*.json")]
    of_cpu = [result for result in found if cpu is None or cpu_of(result) == cpu]
    if not of_cpu:
        raise NotMeasured(kind)
    return sorted(of_cpu, key=date_of, reverse=True)


def machine_of(result: dict[str, Any]) -> str:
    """Cores, CPU and kernel, in what one of our programs here wrote or in what `hvd-train bench` did."""
    return str(result.get("about", result)["machine"])


def date_of(result: dict[str, Any]) -> str:
    return str(result.get("about", result)["date"])


def cpu_of(result: dict[str, Any]) -> str:
    """Of the line that names its machine: "2 cores, AMD EPYC, Linux 6.18"."""
    return machine_of(result).split(", ")[1]


def source(result: dict[str, Any]) -> str:
    """When and where it was measured, and the file, as a paragraph below a table."""
    load = f", at a load average of {result['load_average']:.0f}" if "load_average" in result else ""
    return f"\n\nMeasured {date_of(result)[:10]} on {machine_of(result)}{load} (`benchmarks/results/{result['file']}`)."


def about_of(document: dict[str, Any]) -> dict[str, Any]:
    """When, where and with what a result was measured: what `measured` reads."""
    return {key: document[key] for key in ("date", "machine", "versions")}


def measured(document: dict[str, Any], what: str = "") -> str:
    """When and where it was measured, of a result with versions, as one line. `what` names the rows it is about."""
    v, m = document["versions"], document["machine"]
    keras = f"Keras {v['keras']}, TensorFlow {v.get('tensorflow-cpu', v.get('tensorflow'))}, Python {v['python']}"
    cores = "1 core" if m["cores"] == 1 else f"{m['cores']} cores"
    begin = f"{what}: measured" if what else "Measured"
    return f"*{begin} {document['date']} on {cores} ({m['cpu']}) with {keras}.*"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the figures to the right."""
    rule = "|" + "|".join(["---", *["--:"] * (len(heads) - 1)]) + "|"
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)])


def spread(figure: dict[str, float], percent: bool = False) -> str:
    scale, digits = (100, 2) if percent else (1, 3)
    return f"{scale * figure['mean']:.{digits}f} ± {scale * figure['std']:.{digits}f}"
