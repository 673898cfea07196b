"""Settings that differ from a recipe, tried on rows that were held out for the choice. Shared by the programs of choices."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trials

from hvd_train.config import RunConfig
from hvd_train.runs.provenance import versions

Means = dict[str, dict[str, float]]
"""By the name of the data, then by that of the choice."""


def means(configs: Mapping[tuple[str, int], RunConfig], choices: Mapping[str, dict[str, Any]], metric: str) -> Means:
    """The mean of a metric of the test split over the repeats. `configs` are by name and repeat."""
    keys = [(name, choice, repeat) for name, repeat in configs for choice in choices]
    reports = trials.run(
        [trials.Trial((name, choice, str(repeat)), configs[name, repeat].replace(**choices[choice])) for name, choice, repeat in keys]
    )  # fmt: skip
    found: dict[str, dict[str, list[float]]] = {}
    for (name, choice, _), report in zip(keys, reports, strict=True):
        found.setdefault(name, {}).setdefault(choice, []).append(report["metrics"]["test"][metric])
    return {name: {choice: float(np.mean(each)) for choice, each in of.items()} for name, of in found.items()}


def add(out: Path, kind: str, key: str, new: Means, *, order: Sequence[str], **about: Any) -> Path:
    """Put `new` under `key` of today's file of this kind, in this order of names, beside what it has. Returns the file."""
    today = datetime.date.today().isoformat()
    path = out / f"{kind}_{today}.json"
    rows = (json.loads(path.read_text())[key] if path.exists() else {}) | new
    document = {"date": today, "machine": trials.machine(), "versions": versions(), **about}
    document[key] = {name: rows[name] for name in order if name in rows}
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
