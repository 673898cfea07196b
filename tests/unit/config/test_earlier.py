"""A config.toml that an earlier version wrote still loads: each key goes to where it is today."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from hvd_train.config import RunConfig, recipes, toml
from hvd_train.config.distributed import AUTOMATIC
from hvd_train.config.earlier import DATA_KEYS
from hvd_train.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EARLIER = Path(__file__).parent / "earlier"


@pytest.mark.parametrize(
    ("name", "recipe", "chosen"),
    [
        ("train", recipes.DEFAULT, {"split": {"num_virtual_shards": 64}, "training": {"global_batch_size": 256}}),
        ("debug", recipes.DEBUG, {"split": {"num_virtual_shards": 64}, "training": {"global_batch_size": 64}}),
    ],
)
def test_a_run_s_config_of_version_0_1_is_the_same_experiment(
    name: str, recipe: RunConfig, chosen: dict[str, Any]
) -> None:
    """The files are those of `hvd-train train` and `--recipe debug` at the commit before [data] was parted.

    They hold the settings of then, which change no result.
    """
    then = {"automatic": tuple(n for n in AUTOMATIC if n not in ("two-levels", "mpi-eager")), "gradient_groups": 1}
    assert toml.load(EARLIER / f"{name}.toml") == recipe.replace(**chosen, distributed=then)


def test_a_run_by_the_songs_recipe_of_version_0_2_keeps_its_network() -> None:
    """The file is `--recipe songs --print-config` at the commit before that name became the published settings' own."""
    config = toml.load(EARLIER / "songs.toml")
    # What is set by itself on a cluster is that of then, and changes no result.
    config = config.replace(distributed={"automatic": AUTOMATIC})
    assert config == recipes.recipe("synthetic-songs") != recipes.recipe("songs")


def test_every_key_of_the_earlier_section_has_its_place() -> None:
    """In this file each of the keys has another value than its default."""
    written = tomllib.loads((EARLIER / "every_data_key.toml").read_text())["data"]
    assert sorted(written) == sorted(DATA_KEYS)
    config = toml.load(EARLIER / "every_data_key.toml")
    read = dataclasses.asdict(config)
    for earlier, value in written.items():
        section, key = DATA_KEYS[earlier]
        found = read[section][key]
        assert found != dataclasses.asdict(RunConfig())[section][key], earlier
        assert (str(found) if isinstance(found, Path) else list(found) if isinstance(found, tuple) else found) == value
    assert toml.loads(toml.dumps(config)) == config
    assert "[data]" not in toml.dumps(config)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[data]\nlabell = 'x'", r"unknown key 'data.labell'. Did you mean 'label'\?"),
        ("[data]\nlabel = 'x'\n[table]\nlabel = 'x'", "'data.label' is the earlier name of 'table.label', and both"),
        ("data = 'songs.csv'", r"written \[data\]. Name the table by path in \[table\]"),
        ("[data]\nval_fraction = 2.0", "run.toml: split: val_fraction = 2.0 is not possible"),
        ("table = 'songs.csv'\n[data]\nlabel = 'x'", "'table' is a section"),
    ],
)
def test_what_is_wrong_in_an_earlier_file_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        toml.loads(text, source="run.toml")
