"""The networks, each a function of its typed config."""

from __future__ import annotations

from typing import Any

from hvd_train.config import ModelConfig
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.models.seed_cnn import seed_cnn

BUILDERS = {"seed_cnn": seed_cnn}


def build(config: ModelConfig, spec: InputSpec, head: HeadSpec, *, seed: int, rank: int = 0) -> Any:
    """The Keras model of `config`: plain rows (N, F) in, logits (N, K) or values (N, 1) out.

    All ranks, with the same arguments but `rank`: equal weights everywhere, dropout of its own on each rank.
    """
    return BUILDERS[config.name](config, spec, head, seed=seed, rank=rank)
