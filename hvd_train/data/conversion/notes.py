"""What a user should know after a conversion: rows, and columns that need attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.config import SPLITS
from hvd_train.data.categories.learning import names_of
from hvd_train.data.conversion.exactness import steps_of_float32
from hvd_train.data.schema import TextColumn
from hvd_train.data.series.lengths import series_in_words

MIN_STEPS_PER_STD = 8
"""A column whose standard deviation is fewer steps of its float32 values has lost much to rounding; a note tells so."""

_LIKE_MISSING = {"na", "nan", "n/a", "#n/a", "null", "none", "?", "missing", "unknown"}
"""Names of classes that often are none."""

_MEANINGS = {
    "boolean": "booleans (true and yes are 1, false and no are 0)",
    "percent": "percentages (12.5% is 0.125)",
    "date": "dates (days since 1970-01-01, in UTC, to about 3 minutes)",
}


def warnings(metadata: dict[str, Any]) -> list[str]:
    """What may not be as the user thinks, reported whenever the dataset is used: how the table was read."""
    lines = []
    if metadata["num_unlabelled"]:
        lines.append(f"rows without a label, left out: {metadata['num_unlabelled']:,}")
    if metadata["num_ungrouped"]:
        lines.append(
            f"rows with an empty cell in the column of --split, each a group of its own: {metadata['num_ungrouped']:,}"
        )
    lines += [
        f"a class is called {value!r}: if it stands for a missing label, say so by --missing {value}"
        for value in metadata["schema"]["label_values"]
        if str(value).lower() in _LIKE_MISSING
    ]
    lines += [
        f"{name!r} rises by whole numbers from row to row: if it numbers the rows, leave it out by --drop, or a model "
        "learns the order of the table"
        for name in metadata["row_numbers"]
    ]
    return [*lines, *metadata.get("source", {}).get("remarks", [])]


def notes(metadata: dict[str, Any]) -> list[str]:
    """What a user should know after a conversion: rows, and columns that need attention."""
    schema, statistics = metadata["schema"], metadata["statistics"]
    rows = ", ".join(f"{metadata['splits'][split]['num_rows']:,} {split}" for split in SPLITS)
    lines = [f"{rows} rows ({metadata['split']} split) in {metadata['num_virtual_shards']} virtual shards"]
    names = schema["feature_names"]
    if series := metadata.get("series"):
        # Single positions say little of a series, and what is missing in them is padding most of all.
        return [*lines, series_in_words(series), *warnings(metadata)]
    constant = [name for name, is_constant in zip(names, statistics["constant"], strict=True) if is_constant]
    if constant:
        lines.append(f"{len(constant)} of {len(names)} columns are constant in train: {_listed(constant)}")
    steps = steps_of_float32(np.maximum(np.abs(statistics["minimum"]), np.abs(statistics["maximum"])))
    std = np.array(statistics["std"])
    coarse = [names[i] for i in np.flatnonzero((std > 0) & (std < MIN_STEPS_PER_STD * steps))]
    if coarse:
        lines.append(
            f"{len(coarse)} columns vary by little more than the precision of 32-bit floats: subtract an offset from "
            f"{_listed(coarse)} before"
        )
    missing = [name for name, count in zip(names, statistics["num_missing"], strict=True) if count]
    if missing:
        total = sum(statistics["num_missing"])
        lines.append(f"{total:,} cells are missing in train, in {len(missing)} columns: {_listed(missing)}")
    num_train = metadata["splits"]["train"]["num_rows"]
    empty = [name for name, count in zip(names, statistics["num_missing"], strict=True) if count == num_train]
    if empty:
        lines.append(f"{len(empty)} columns have no value in train, and count for nothing: {_listed(empty)}")
    texts = [TextColumn(**column) for column in schema.get("text_columns", ())]
    if texts:
        lines.append(f"{len(texts)} columns hold texts, as categories: {names_of(texts)}")
    for kind, meaning in _MEANINGS.items():
        named = [
            repr(name) for name, found in zip(names, schema.get("feature_kinds", ()), strict=False) if found == kind
        ]
        if named:
            lines.append(f"{len(named)} columns hold {meaning}: {_listed(named)}")
    return lines + warnings(metadata)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
