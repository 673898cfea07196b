"""Names that a model knows, found again in tables that may write them in another way."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from hvd_train.data.labels.cells import number_of_name

_BOOLEANS = ("true", "false")


@dataclass(frozen=True)
class KnownNames:
    """Finds the index of a name."""

    by_name: dict[str, int]
    by_number: dict[int | float, int]

    @classmethod
    @functools.lru_cache(maxsize=64)
    def of(cls, names: tuple[str, ...]) -> KnownNames:
        by_name: dict[str, int] = {}
        by_number: dict[int | float, list[int]] = {}
        for index, name in enumerate(names):
            # Runs of version 0.1 kept the spaces around a name.
            by_name.setdefault(name.strip(), index)
            number = number_of_name(name.strip())
            if number is not None:
                by_number.setdefault(number, []).append(index)
        return cls(by_name, {number: indices[0] for number, indices in by_number.items() if len(indices) == 1})

    def index(self, name: str) -> int:
        """The index of this name, or of the same number or boolean: pandas writes 1.0 for 1, and True for true. -1: of none."""
        if name.lower() in _BOOLEANS:
            same = [index for known, index in self.by_name.items() if known.lower() == name.lower()]
            return self.by_name.get(name, same[0] if len(same) == 1 else -1)
        number = number_of_name(name)
        return self.by_name.get(name, -1 if number is None else self.by_number.get(number, -1))
