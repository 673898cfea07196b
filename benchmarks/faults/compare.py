"""Whether a run ended exactly as another: weights, moments, random generators, model and losses, bit for bit."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hvd_train.runs import RunDir

# Columns of metrics.csv that tell of time.
TIMES = ("samples_per_s", "seconds")
LEFT_OUT = "note"  # of a checkpoint: it holds times


def differences(run: RunDir, other: RunDir) -> list[str]:
    """What differs between two runs, in words. Empty where nothing does."""
    found = []
    for one, two in ((run.last, other.last), (run.best, other.best)):
        found += _unequal(one.name, _arrays(one), _arrays(two))
    found += _unequal(run.model.name, _model(run.model), _model(other.model))
    if _losses(run.metrics) != _losses(other.metrics):
        found.append(f"{run.metrics.name}: a loss or a metric differs")
    return found


def _unequal(name: str, one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    if one.keys() != two.keys():
        return [f"{name}: not the same arrays"]
    return [f"{name}: {key} differs" for key in one if one[key] != two[key]]


def _arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return {n: (arrays[n].dtype.str, arrays[n].shape, arrays[n].tobytes()) for n in arrays if n != LEFT_OUT}


def _model(path: Path) -> dict[str, Any]:
    """The arrays of a saved Keras model. Its other files hold the time."""
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as weights:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = np.asarray(item).tobytes()

        weights.visititems(visit)
    return found


def _losses(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]
