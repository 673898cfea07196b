"""Section: the base of every part of a RunConfig. `require` states a rule about one value.

The checks here need nothing but the values themselves. What depends on the data or on the number of ranks is checked
where those are known (`hvd_train.data`, `hvd_train.training.batch_sizes`).
"""

from __future__ import annotations

import dataclasses
import math

from hvd_train.errors import ConfigError


def require(holds: bool, key: str, given: object, rule: str) -> None:
    """Raise ConfigError naming `key` unless `holds`."""
    if not holds:
        raise ConfigError(f"{key} = {given!r} is not possible: {rule}.")


class Section:
    """What all sections share: one rule for every number, then the section's own (`check`)."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, float)]
            require(all(map(math.isfinite, numbers)), each.name, value, "it is a finite number")
        self.check()

    def check(self) -> None:
        """Raise ConfigError for a value that is impossible."""
