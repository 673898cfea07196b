"""A network as one Keras model: inputs, body and head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from hvd_train.config import ModelConfig
from hvd_train.models.deep_cnn import deep_cnn, residual_cnn
from hvd_train.models.expansive_cnn import expansive_cnn
from hvd_train.models.heads import HeadSpec, head
from hvd_train.models.inputs import PREPARED, InputSpec, positions_and_channels
from hvd_train.models.mlp import linear, mlp
from hvd_train.models.seed_cnn import seed_cnn
from hvd_train.models.seeds import Seeds

# (N, L, C) -> (N, U)
BODIES: dict[str, Callable[[Any, ModelConfig, Seeds], Any]] = {
    "seed_cnn": seed_cnn,
    "deep_cnn": deep_cnn,
    "residual_cnn": residual_cnn,
    "expansive_cnn": expansive_cnn,
    "mlp": mlp,
    "linear": linear,
}


def build(config: ModelConfig, spec: InputSpec, head_spec: HeadSpec, *, seed: int, rank: int = 0) -> Any:
    """The Keras model of `config`: plain rows (N, F) in, what the head of `head_spec` is trained on out.

    All ranks, with the same arguments but `rank`: equal weights everywhere, and on each rank the dropout of its part of the
    global batch. Raises ConfigError where the rows cannot be arranged as the config says.
    """
    seeds = Seeds(seed, rank)
    x_NF = keras.Input((spec.num_features,), name="rows")
    x_NLC = positions_and_channels(x_NF, config, spec, seeds)
    x_NU = BODIES[config.name](x_NLC, config, seeds)
    return keras.Model(x_NF, head(x_NU, head_spec, seeds), name=config.name)


def split(model: Any) -> tuple[Any, Any]:
    """`model` in two that share its layers: plain rows (N, F) to prepared ones, and from there to its outputs.

    A prepared row is the same in every step, so a run can prepare its rows once and train the second alone.
    """
    prepared = model.get_layer(PREPARED).output
    return keras.Model(model.input, prepared, name=PREPARED), keras.Model(prepared, model.output, name=model.name)
