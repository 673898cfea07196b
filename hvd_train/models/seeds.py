"""Numbers for layers in the order in which they are made: the same weights on every rank, other dropout on each."""

from __future__ import annotations

from typing import Any

import keras


class Seeds:
    """One for a model. Every call gives the next number."""

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank, self._made = seed, rank, 0

    def weights(self) -> int:
        self._made += 1
        return (self._seed * 1009 + self._made) % 2**31

    def dropout(self) -> int:
        self._made += 1
        return (self._seed * 1009 + self._made + 1_000_003 * (self._rank + 1)) % 2**31

    def kernel(self) -> Any:
        """The initialiser of the next layer's kernel."""
        return keras.initializers.GlorotUniform(self.weights())
