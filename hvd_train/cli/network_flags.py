"""Flags of a network that was not chosen: refused, since they would do nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvd_train.config import NETWORKS, ModelConfig
from hvd_train.errors import ConfigError


def refuse_flags_of_other_networks(argv: Sequence[str], model: ModelConfig) -> None:
    """ConfigError for a flag in `argv` that the network of `model` does not have, unless it is as by default.

    Recipes and TOML files may hold such values, so that one flag, --model, is enough to try another network.
    """
    own = _fields(model.name) if model.name in NETWORKS else set()
    every = set().union(*map(_fields, NETWORKS))
    defaults = ModelConfig()
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--").replace("-", "_")
        if argument.startswith("--") and name in every - own and getattr(model, name) != getattr(defaults, name):
            flags = ", ".join("--" + field.replace("_", "-") for field in sorted(own)) or "none"
            raise ConfigError(
                f"{argument.partition('=')[0]} has no effect on --model {model.name}, whose flags are: {flags}. Leave it out."
            )


def _fields(network: str) -> set[str]:
    return {field.name for field in dataclasses.fields(NETWORKS[network])}  # type: ignore[arg-type]
