"""Numbers for layers in the order in which they are made, the same on every rank; and the states of random generators.

`models.dropout` draws the masks of a global batch from equal seeds, each rank its own rows' part. Other layers that draw (a
keras.layers.Dropout or GaussianNoise of a user's) know nothing of ranks: each rank then needs numbers of its own.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_train.models.dropout import Dropout

# Keras's name for the state of a keras.random.SeedGenerator: seed and number of calls.
STATE = "seed_generator_state"
_APART = 1_000_003


class Seeds:
    """One for a model. Every call gives the next number."""

    def __init__(self, seed: int, rank: Any) -> None:
        self._seed, self.rank, self._made = seed, rank, 0

    def next(self) -> int:
        self._made += 1
        return (self._seed * 1009 + self._made) % 2**31

    def kernel(self) -> Any:
        """The initialiser of the next layer's kernel."""
        return keras.initializers.GlorotUniform(self.next())


def generator_states(model: Any) -> list[Any]:
    """The state of every random generator in the layers of `model`, in their order. Keras leaves them out of `weights`."""
    return [variable for variable in model.variables if variable.name == STATE]


def part_from_root(model: Any, rank: int) -> None:
    """Give a rank that has the root's states other numbers than the root's, in layers that know nothing of ranks.

    A pure function of the state and the rank: a run that goes on from the root's checkpoint on as many ranks draws what
    it would have drawn without the interruption.
    """
    dropouts = [layer for layer in model._flatten_layers() if isinstance(layer, Dropout) and layer.rate > 0]
    over_all_ranks = {id(layer.seed_generator.state) for layer in dropouts}
    for state in generator_states(model):
        if id(state) not in over_all_ranks:
            state.assign_add(np.array([rank * _APART, 0]))
