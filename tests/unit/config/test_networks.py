"""Each network's own config, and the options of a user's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from hvd_train.cli.network_flags import refuse_flags_of_other_networks
from hvd_train.config import NETWORKS, InputConfig, MlpConfig, ModelConfig, RunConfig, parse_options, toml
from hvd_train.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Net:
    width: int
    rate: float = 0.5
    bias: bool = True
    name: str = "a"
    units: tuple[int, ...] = (1,)
    kind: Literal["x", "y"] = "x"
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width is at least 1")


def test_a_network_gets_its_own_fields_alone() -> None:
    model = ModelConfig(name="mlp", dense_units=(7,), filters=(3,), transform="quantile")
    assert model.network == MlpConfig(dense_units=(7,))
    assert not hasattr(model.network, "filters")
    assert model.inputs == InputConfig(transform="quantile")


def test_flags_are_the_fields_of_all_networks() -> None:
    own = {field.name for kind in (*NETWORKS.values(), InputConfig) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    assert {field.name for field in dataclasses.fields(ModelConfig)} == own | {"name", "options"}


def test_options_are_typed_by_the_fields() -> None:
    given = ["width=3", "rate=1", "bias=false", "name=true", "units=4,5", "kind=y", "limit=2.5"]
    assert parse_options(Net, given, key="model-options") == Net(3, 1.0, False, "true", (4, 5), "y", 2.5)
    assert parse_options(Net, [], base=Net(9, units=()), key="model-options") == Net(9, units=())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["width"], "an option is written name=value"),
        (["widht=3"], "there is no option 'widht'. The options are: width, rate"),
        (["width=1.5"], "width = 1.5 must be a whole number"),
        (["width=wide"], "width = 'wide' must be a whole number"),
        (["width=1", "kind=z"], "kind = 'z' is not one of 'x', 'y'"),
        (["rate=1"], "width has no default. Give it: width=VALUE"),
        (["width=0"], "ValueError: width is at least 1"),
    ],
)
def test_options_that_cannot_be(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_options(Net, options, key="model-options")


def test_a_reference_is_absolute_and_survives_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = RunConfig().replace(
        model={"name": "nets.py:wide", "options": ("width=3",)}, objective={"loss": "nets.py:Pinball"}
    )
    assert config.model.name == f"{tmp_path.resolve()}/nets.py:wide"
    monkeypatch.chdir("/")
    assert toml.loads(toml.dumps(config)) == config


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("model", {"name": "cnn"}, "model = 'cnn' is not possible: it is one of seed_cnn, .* or a network of your own"),
        ("model", {"name": "nets.py:"}, "a reference is written"),
        ("model", {"options": ("a=1",)}, "options are for a network of your own"),
        ("objective", {"loss": "mean"}, "loss = 'mean' is not possible: it is one of auto, cross-entropy"),
        ("objective", {"loss": "a b:c"}, "a reference is written"),
    ],
)
def test_names_that_are_none(section: str, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RunConfig().replace(**{section: changes})


def test_flags_of_other_networks_are_refused() -> None:
    mlp = ModelConfig(name="mlp", filters=(8,))
    with pytest.raises(
        ConfigError, match="--filters has no effect on --model mlp, whose flags are: --activation, --dense"
    ):
        refuse_flags_of_other_networks(["--model", "mlp", "--filters", "8"], mlp)
    refuse_flags_of_other_networks(["--model", "mlp"], mlp)  # a recipe's
    refuse_flags_of_other_networks(["--model=mlp", "--filters", "32", "32"], ModelConfig(name="mlp"))
    refuse_flags_of_other_networks(["--dense-units", "3", "--whiten"], dataclasses.replace(mlp, dense_units=(3,)))
    with pytest.raises(ConfigError, match="whose flags are: none"):
        refuse_flags_of_other_networks(["--blocks=2"], ModelConfig(name="nets.py:wide", blocks=2))
