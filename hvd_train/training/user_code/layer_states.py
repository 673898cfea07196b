"""States that layers change while training, such as running means: a rank or a virtual worker may have seen its own rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train.config import NETWORKS, RunConfig, SeriesNetworkConfig, is_reference
from hvd_train.distributed import World


def average_layer_states(config: RunConfig, model: Any, world: World) -> None:
    """Give all ranks the mean of their layer states, as all ranks end with one model. All ranks, after each epoch.

    Batch normalization has equal ones on all ranks, except under local steps.
    """
    if world.size == 1:
        return
    states = layer_states(config, model)
    if states:
        own = [np.asarray(state, np.float64) for state in states]
        total = world.allreduce_sum(np.concatenate([value.ravel() for value in own]))
        ends = np.cumsum([value.size for value in own])
        for state, value, mean in zip(states, own, np.split(total / world.size, ends[:-1]), strict=True):
            state.assign(mean.reshape(value.shape))


def layer_states(config: RunConfig, model: Any) -> list[Any]:
    """The variables without gradients that a step can change and that can be averaged. Pure.

    A user's own layers may have some. Of our networks those for series do: their batch normalization.
    """
    name = config.model.name
    if not is_reference(name) and NETWORKS[name] is not SeriesNetworkConfig:
        return []
    return [v for v in model.non_trainable_variables if np.issubdtype(np.asarray(v).dtype, np.floating)]
