"""What a search draws from: for each field of the RunConfig a range or a list of choices. Pure.

A built-in space follows the network of the config. A space of the user's own is a TOML file:

    [optimizer.base_learning_rate]
    low = 1e-4
    high = 1e-2
    log = true

    [model.dense_units]
    choices = [[128], [256, 256]]
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_train.config import NETWORKS, RunConfig, SeriesNetworkConfig, toml
from hvd_train.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are whole."""

    low: float
    high: float
    log: bool = False
    """Whether each factor is as likely as another, instead of each difference."""

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', by factors' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    @property
    def names(self) -> list[str]:
        """Each value as JSON: a text that stands for it wherever only texts are possible."""
        return [json.dumps(value) for value in self.values]

    def __str__(self) -> str:
        return ", ".join(self.names)


Space = Mapping[str, "Range | Choices"]
"""By "section.field" of the RunConfig."""

RATE = Range(low=1e-4, high=1e-2, log=True)
_WIDTHS = (64, 128, 256, 512)
_DENSE: dict[str, Range | Choices] = {
    "optimizer.base_learning_rate": RATE,
    "model.dense_units": Choices(tuple([width] * depth for depth in (1, 2, 3) for width in _WIDTHS)),
    "model.dense_dropout": Range(low=0.0, high=0.7),
}
_CONVOLUTIONS: dict[str, Range | Choices] = {
    "optimizer.base_learning_rate": RATE,
    "model.filters": Choices(tuple([width] * depth for depth in (1, 2, 4) for width in (16, 32, 64))),
    "model.kernel_size": Range(low=1, high=7),
}
_WITH_DENSE: dict[str, Range | Choices] = {"model.dense_units": Choices(([64], [128], [256], [512])), "model.dense_dropout": _DENSE["model.dense_dropout"]}  # fmt: skip

_SERIES: dict[str, Range | Choices] = {
    "optimizer.base_learning_rate": RATE,
    "model.transform": Choices(("channel", "series")),
    "sampling.window_warp": Range(low=0.0, high=0.8),
    "sampling.noise": Range(low=0.0, high=0.2),
}

SPACES: dict[str, Space] = {
    "seed_cnn": {**_CONVOLUTIONS, **_WITH_DENSE, "model.conv_dropout": Range(low=0.0, high=0.5)},
    "deep_cnn": {**_CONVOLUTIONS, **_WITH_DENSE, "model.conv_dropout": Range(low=0.0, high=0.5)},
    "residual_cnn": {**_CONVOLUTIONS, **_WITH_DENSE, "model.conv_dropout": Range(low=0.0, high=0.5)},
    "expansive_cnn": {k: v for k, v in _CONVOLUTIONS.items() if k != "model.kernel_size"},
    "mlp": {**_DENSE, "model.transform": Choices(("standard", "signed-log", "quantile"))},
    # The space in which the authors of TabM tuned it (arXiv 2410.24210, appendix D), with widths in steps.
    "tabm": {
        "optimizer.base_learning_rate": Range(low=1e-4, high=5e-3, log=True),
        "optimizer.weight_decay": Choices((0.0, 1e-4, 3e-4, 1e-3, 1e-2, 1e-1)),
        "model.dense_units": Choices(tuple([width] * depth for depth in (1, 2, 3, 4) for width in _WIDTHS)),
        "model.dense_dropout": Range(low=0.0, high=0.5),
        "model.piecewise_bins": Range(low=2, high=128),
        "model.piecewise_channels": Range(low=8, high=32),
    },
    "linear": {"optimizer.base_learning_rate": RATE},
    **{name: _SERIES for name, kind in NETWORKS.items() if kind is SeriesNetworkConfig},
}
"""The built-in spaces, by the name of the network. The batch follows the number of rows, so it is in none."""
OF_PIECEWISE = ("model.piecewise_bins", "model.piecewise_channels")


def space_for(config: RunConfig) -> Space:
    """The built-in space of the network of this config, without what the config does not use."""
    space = dict(SPACES.get(config.model.name, SPACES["linear"]))
    if config.model.arrangement != "piecewise":
        space = {key: value for key, value in space.items() if key not in OF_PIECEWISE}
    if config.optimizer.optimizer == "adam":
        space.pop("optimizer.weight_decay", None)
    return space


def load_space(path: Path, config: RunConfig) -> Space:
    """The space in a TOML file. ConfigError names the file and the field."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file. Give --space a TOML file.") from None
    except (OSError, ValueError, RecursionError) as error:  # lists in lists without end
        raise ConfigError(f"{path}: this is not TOML that can be read: {error}.") from None
    space: dict[str, Range | Choices] = {}
    for section, fields in document.items():
        for name, given in fields.items() if isinstance(fields, dict) else [("", fields)]:
            key = f"{section}.{name}" if name else section
            space[key] = _entry(given, f"{path}: {key}")
    if not space:
        raise ConfigError(f"{path}: nothing is searched. Write a table such as [optimizer.base_learning_rate].")
    require_possible(space, config, source=str(path))
    return space


def _entry(given: Any, what: str) -> Range | Choices:
    rule = "give low and high, and log = true for factors; or choices = [...]"
    if not isinstance(given, dict):
        raise ConfigError(f"{what} = {given!r} is not possible: {rule}.")
    keys = set(given)
    if keys == {"choices"} and isinstance(given["choices"], list) and given["choices"]:
        return Choices(tuple(given["choices"]))
    if keys - {"log"} == {"low", "high"}:
        low, high, log = given["low"], given["high"], given.get("log", False)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in (low, high))
        if numbers and low < high and isinstance(log, bool) and (low > 0 or not log):
            return Range(low=low, high=high, log=log)
        rule = "low and high are numbers, low is the smaller one, and above 0 with log = true"
    raise ConfigError(f"{what} = {given!r} is not possible: {rule}.")


def require_possible(space: Space, config: RunConfig, *, source: str) -> None:
    """ConfigError unless the ends of every range and every choice are possible in this config."""
    for key, entry in space.items():
        values = entry.values if isinstance(entry, Choices) else (entry.low, entry.high)
        for value in values:
            applied(config, {key: value}, source=source)


def applied(config: RunConfig, values: Mapping[str, Any], *, source: str = "the search") -> RunConfig:
    """The config with these values. ConfigError where one is unknown or impossible."""
    document: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        known = {field.name for field in dataclasses.fields(config)}
        if section not in known or not name:
            raise ConfigError(
                f"{source}: {key} is no setting. Write [SECTION.FIELD], with the sections and fields of a run's config.toml."
            )
        document.setdefault(section, {})[name] = value
    return toml.from_mapping(document, base=config, source=source)
