"""RunConfig: checked once, saved with the run, read back equal; what is wrong is named by its key."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

from hvd_train.config import RunConfig, TableConfig, parse_layout, recipes, toml
from hvd_train.errors import ConfigError


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_read_back_equal(name: str, tmp_path: Path) -> None:
    config = recipes.recipe(name).replace(table={"path": Path("/songs.csv"), "delimiter": "\t"})
    (tmp_path / "config.toml").write_text(toml.dumps(config))
    assert toml.load(tmp_path / "config.toml") == config


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[training]\nnum_epochs = 7\n[optimizer]\nbase_learning_rate = 1\n")
    config = toml.load(tmp_path / "run.toml", base=recipes.DEBUG)
    assert config == recipes.DEBUG.replace(training={"num_epochs": 7}, optimizer={"base_learning_rate": 1.0})


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        ("[training]\nnum_epoch = 3", "training.num_epoch", "Did you mean 'num_epochs'?"),
        ("[trainin]\nnum_epochs = 3", "trainin", "Did you mean 'training'?"),
        ("[training]\nzebra = 3", "training.zebra", "The keys here are: global_batch_size"),
        ('[training]\nnum_epochs = "3"', "training.num_epochs", "a whole number"),
        ("[training]\nnum_epochs = 2.5", "training.num_epochs", "a whole number"),
        ("[training]\nnum_epochs = true", "training.num_epochs", "a whole number"),
        ("[training]\ncheck_equal_weights = 1", "training.check_equal_weights", "true or false"),
        ("[training]\nnum_epochs = 0", "num_epochs", "at least 1"),
        (
            "[training]\nglobal_batch_size = 64\nlocal_batch_size = 32",
            "global_batch_size and local_batch_size",
            "give one",
        ),
        ('[model]\nfilters = "32"', "model.filters", "a list"),
        ('[model]\nfilters = [32, "x"]', "model.filters[1]", "a whole number"),
        ("[model]\nfilters = []", "filters", "at least one convolution"),
        ("[model]\ndense_dropout = 1.0", "dense_dropout", "below 1"),
        ('[model]\nname = "vgg"', "model = 'vgg'", "seed_cnn"),
        ("[split]\nval_fraction = 0.6\ntest_fraction = 0.5", "val_fraction + test_fraction", "left to train on"),
        ('[table]\nlayout = "90by1"', "layout", "POSITIONSxCHANNELS"),
        ('table = "songs.csv"', "table", "a section"),
        ('[optimizer]\nweight_decay = 0.1\noptimizer = "adam"', "weight_decay", "--optimizer adamw"),
        ("[distributed]\ncycle_time_ms = 0", "cycle_time_ms", "a time is positive"),
        ("[distributed]\ngradient_groups = 0", "gradient_groups", "at least 1"),
        ('[distributed]\nautomatic = ["affinity", "magic"]', "distributed.automatic[1]", "'mpi-yield'"),
        ('[training]\nprecision = "float16"', "training.precision", "'bfloat16'"),
        ("[training\n", "run.toml", "not TOML"),
        ("a = " + "[" * 5000, "run.toml", "not TOML"),
        ("[optimizer]\nbase_learning_rate = 1" + "0" * 400, "base_learning_rate", "finite"),
        ('[table]\npath = "a\\u0000b"', "table.path", "zero byte"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(text: str, key: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        toml.load(tmp_path / "run.toml")
    assert key in str(raised.value)
    assert rule in str(raised.value)
    assert str(tmp_path / "run.toml") in str(raised.value)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_every_number_is_a_finite_number(value: str) -> None:
    """One rule for all settings, also those that a later version adds."""
    tried = 0
    for section in dataclasses.fields(RunConfig):
        for key, kind in typing.get_type_hints(type(getattr(RunConfig(), section.name))).items():
            if float in (kind, *typing.get_args(kind)):
                text = f"[{value}]" if "tuple" in str(kind) else value
                with pytest.raises(ConfigError, match=rf"{key} = .* is not possible: it is a finite number"):
                    toml.loads(f"[{section.name}]\n{key} = {text}\n")
                tried += 1
    assert tried > 25


def test_a_missing_file_and_an_unknown_recipe_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        toml.load(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="default, debug"):
        recipes.recipe("nothing")


def test_layout() -> None:
    assert parse_layout("64x3") == (64, 3)
    for wrong in ("64", "x3", "64x", "0x3", "-1x3", "64x3x2", "axb"):
        with pytest.raises(ConfigError, match="layout"):
            parse_layout(wrong)


def test_configs_are_frozen_and_equal_by_value() -> None:
    assert RunConfig() == RunConfig()
    assert len({RunConfig(), RunConfig()}) == 1
    with pytest.raises(AttributeError):
        TableConfig().label = "x"  # type: ignore[misc]


def test_a_tracker_of_the_user_is_checked_by_its_form_and_named_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = RunConfig().replace(training={"trackers": ("tensorboard", "own.py:Own", "package.module:Own")})
    assert config.training.trackers == ("tensorboard", f"{tmp_path}/own.py:Own", "package.module:Own")
    assert toml.loads(toml.dumps(config)) == config
    assert RunConfig().training.trackers == ("tensorboard",)
    assert RunConfig().replace(training={"trackers": ("none",)}).training.trackers == ()
    with pytest.raises(ConfigError, match="none stands alone"):
        RunConfig().replace(training={"trackers": ("none", "csv")})
    with pytest.raises(ConfigError, match="trackers = 'own file:Own' is not possible: a reference is written"):
        RunConfig().replace(training={"trackers": ("own file:Own",)})
