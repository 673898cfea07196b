"""The networks, each a function of its typed config."""

from __future__ import annotations

from typing import Any

from hvd_train.config import ModelConfig
from hvd_train.models.inputs import InputSpec
from hvd_train.models.seed_cnn import seed_cnn

BUILDERS = {"seed_cnn": seed_cnn}


def build(config: ModelConfig, spec: InputSpec, *, num_outputs: int, seed: int, rank: int = 0) -> Any:
    """The Keras model of `config`: plain rows (N, F) in, logits (N, K) or values (N, 1) out.

    All ranks, with the same arguments but `rank`: equal weights everywhere, dropout of its own on each rank.
    """
    return BUILDERS[config.name](config, spec, num_outputs=num_outputs, seed=seed, rank=rank)
