"""Small tables and their datasets, for the tests of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hvd_train.config import SPLITS, SplitConfig, TableConfig
from hvd_train.data import Dataset, convert, read_table_for_prediction


def frame(num_rows: int = 200, num_features: int = 5, seed: int = 0) -> pd.DataFrame:
    """Years and features of many sizes, with some missing cells in f1."""
    rng = np.random.default_rng(seed)
    features = rng.standard_cauchy((num_rows, num_features)) * 10.0 ** rng.integers(-6, 7, num_features)
    table = pd.DataFrame(features, columns=[f"f{i}" for i in range(num_features)])
    table.loc[rng.random(num_rows) < 0.1, "f1"] = np.nan
    table.insert(0, "year", rng.integers(1990, 2010, num_rows))
    return table


def sections(**options: Any) -> tuple[TableConfig, SplitConfig]:
    """The sections that `convert` and `prepare` take, from options by the names of their flags."""
    keys = {"split": "method", "split_seed": "seed"} | {name: name for name in SplitConfig.__dataclass_fields__}
    of_split = {
        keys[name]: options.pop(name) for name in list(options) if name in keys and name not in ("method", "seed")
    }
    return TableConfig(**options), SplitConfig(**of_split)


def converted(path: Path, out: Path, **options: Any) -> Dataset:
    return Dataset.open(convert(path, out, *sections(**options)))


def all_rows(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of all splits, in the order of the source."""
    parts = [dataset.load(split, range(dataset.num_virtual_shards)) for split in SPLITS]
    order = np.argsort(np.concatenate([part.row_ids for part in parts]))
    features, labels = (np.concatenate([getattr(p, key) for p in parts])[order] for key in ("features", "labels"))
    return features, labels


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def new_rows(
    path: Path, dataset: Dataset, *, with_labels: bool = True, **given: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Features and labels of a table of new rows, for a model trained on `dataset`."""
    blocks = list(
        read_table_for_prediction(path, dataset.schema, dataset.table_format, given=given, with_labels=with_labels)
    )
    labels = [block.labels for block in blocks if block.labels is not None]
    return np.concatenate([block.features for block in blocks]), np.concatenate(labels) if labels else None


def written(table: pd.DataFrame, directory: Path, name: str) -> Path:
    """The table in a format: the label first; missing cells are what the format has for them."""
    path = directory / f"t.{name}"
    if name == "csv":
        table.to_csv(path, index=False)
    elif name == "parquet":
        table.to_parquet(path)
    elif name == "npz":
        np.savez(path, features=table.iloc[:, 1:].to_numpy(), labels=table.iloc[:, 0].to_numpy())
    else:
        cells = [[f"{i}:{v!r}" for i, v in enumerate(row, 1)] for row in table.iloc[:, 1:].to_numpy().tolist()]
        path.write_text("".join(f"{y} {' '.join(row)}\n" for y, row in zip(table.iloc[:, 0], cells, strict=True)))
    return path
