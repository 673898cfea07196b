"""What a search draws from: the built-in spaces, and files of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.config import NETWORKS, RunConfig, recipes
from hvd_train.errors import ConfigError
from hvd_train.search.space import SPACES, Choices, Range, applied, load_space, require_possible, space_for


def test_every_network_has_a_space_that_it_can_be_trained_in() -> None:
    assert set(SPACES) == set(NETWORKS)
    for name in NETWORKS:
        config = RunConfig().replace(model={"name": name}, optimizer={"optimizer": "adamw"})
        require_possible(SPACES[name], config, source=name)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_the_space_of_a_recipe_has_nothing_that_the_recipe_does_not_use(name: str) -> None:
    config = recipes.recipe(name)
    space = space_for(config)
    require_possible(space, config, source=name)
    assert ("model.piecewise_bins" in space) == (name in ("table", "songs"))
    assert "optimizer.base_learning_rate" in space


def test_a_network_of_the_users_own_has_its_learning_rate_searched() -> None:
    config = RunConfig().replace(model={"name": "nets.py:mine"})
    assert list(space_for(config)) == ["optimizer.base_learning_rate"]


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        "[optimizer]\nbase_learning_rate = {low = 1e-4, high = 1e-2, log = true}\n"
        "[model.dense_units]\nchoices = [[128], [256, 256]]\n[model.kernel_size]\nlow = 1\nhigh = 5\n"
    )
    space = load_space(path, RunConfig())
    assert space == {
        "optimizer.base_learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "model.dense_units": Choices(([128], [256, 256])),
        "model.kernel_size": Range(low=1, high=5),
    }
    assert [entry.is_whole for entry in space.values() if isinstance(entry, Range)] == [False, True]
    assert Choices(([128], [256, 256])).names == ["[128]", "[256, 256]"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "nothing is searched"),
        ("[model", "this is not TOML"),
        ("model = " + "[" * 100_000, "this is not TOML"),
        ("seed = 3\n", "seed = 3 is not possible: give low and high"),
        ("[model.filter]\nchoices = [[3]]\n", "filter"),
        ("[network.filters]\nchoices = [[3]]\n", "network.filters is no setting"),
        ("[model.kernel_size]\nlow = 0\nhigh = 5\n", "kernel_size = 0 is not possible"),
        ("[model.kernel_size]\nlow = 5\nhigh = 5\n", "low is the smaller one"),
        ("[model.kernel_size]\nlow = 1\nhigh = 2.5\n", "kernel_size"),
        ("[model.conv_dropout]\nlow = 0.0\nhigh = 0.5\nlog = true\n", "above 0 with log = true"),
        ("[model.conv_dropout]\nlow = 0.1\nhigh = inf\n", "low and high are numbers"),
        ("[model.conv_dropout]\nlow = 0.1\n", "give low and high"),
        ("[model.conv_dropout]\nchoices = []\n", "choices = [...]"),
        ("[model.conv_dropout]\nchoices = [0.1, 1.5]\n", "conv_dropout = 1.5 is not possible"),
    ],
)
def test_a_file_that_cannot_be_searched_is_refused_by_name(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_space(path, RunConfig())
    assert told in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file"):
        load_space(tmp_path / "none.toml", RunConfig())


def test_values_are_those_of_the_config() -> None:
    config = applied(RunConfig(), {"model.dense_units": [64, 32], "optimizer.base_learning_rate": 0.01})
    assert config.model.dense_units == (64, 32)
    assert config.optimizer.base_learning_rate == 0.01
    assert config.training == RunConfig().training
