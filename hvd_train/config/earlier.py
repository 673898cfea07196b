"""config.toml files of earlier versions: their keys are moved to where they are today.

Up to version 0.1 one section, [data], held what [table], [split], [sampling] and the targets of [objective] hold now.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hvd_train.config.sampling import SamplingConfig
from hvd_train.config.suggestion import suggestion
from hvd_train.config.table import TableConfig
from hvd_train.errors import ConfigError

SPLIT_KEYS = {
    "split": "method",
    "val_fraction": "val_fraction",
    "test_fraction": "test_fraction",
    "split_seed": "seed",
    "insist_on_random_split": "insist_on_random_split",
    "num_virtual_shards": "num_virtual_shards",
}
TARGET_KEYS = ("targets", "target_sigma", "target_step")

LATER_KEYS = ("test_path", "categories", "missing_in_features", "window_warp")
"""Of [table] and [sampling], which [data] never had."""

# The key that stood in [data]: (its section, its key) of today.
DATA_KEYS: dict[str, tuple[str, str]] = {
    **{
        field.name: (section, field.name)
        for section, kind in (("table", TableConfig), ("sampling", SamplingConfig))
        for field in dataclasses.fields(kind)
        if field.name not in LATER_KEYS
    },
    **{earlier: ("split", key) for earlier, key in SPLIT_KEYS.items()},
    **{key: ("objective", key) for key in TARGET_KEYS},
}


def with_keys_of_today(document: dict[str, Any], *, source: str) -> dict[str, Any]:
    """A copy of `document` in which each key of [data] stands in its section of today.

    Raises ConfigError for an unknown key, and where a value is given by its earlier and by its present name.
    """
    if "data" not in document:
        return document
    data = document["data"]
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source}: 'data' is a section of earlier versions, written [data]. Name the table by path in [table]."
        )
    sections = {key: value for key, value in document.items() if key != "data"}
    for earlier, value in data.items():
        if earlier not in DATA_KEYS:
            raise ConfigError(f"{source}: unknown key 'data.{earlier}'. {suggestion(earlier, list(DATA_KEYS))}")
        section, key = DATA_KEYS[earlier]
        keys = sections.get(section, {})
        if not isinstance(keys, dict):  # refused with the other wrong types
            continue
        if key in keys:
            raise ConfigError(
                f"{source}: 'data.{earlier}' is the earlier name of '{section}.{key}', and both are given. Leave one out."
            )
        sections[section] = keys | {key: value}
    return sections
