"""tabm as the tests of it build it: small, for any head, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from hvd_train import models
from hvd_train.config import InputConfig, ModelConfig
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.models.transforms import Fit

F, M, K = 5, 4, 3
ROWS = np.random.default_rng(0).normal(size=(7, F)).astype(np.float32)
SPEC = InputSpec(np.zeros(F), np.ones(F), (F, 1))
SHARES = np.log(np.array([0.2, 0.5, 0.3]))
HEADS = {
    "softmax": HeadSpec("softmax", SHARES),
    "coral": HeadSpec("coral", SHARES, np.arange(3.0)),
    "corn": HeadSpec("corn", SHARES, np.arange(3.0)),
    "point": HeadSpec("point", mean=3.0, scale=2.0),
    "point of integers": HeadSpec("point", SHARES, np.arange(3.0), 3.0, 2.0),
    "gaussian": HeadSpec("gaussian", mean=3.0, scale=2.0),
    "gaussian of integers": HeadSpec("gaussian", SHARES, np.arange(3.0), 1.0, 0.7),
}


def built(head: HeadSpec = HEADS["softmax"], *, members: int = M, spec: InputSpec = SPEC, **changes: Any) -> Any:
    config = ModelConfig(
        **{"name": "tabm", "dense_units": (6, 8), "dense_dropout": 0.0, "parallel_members": members, **changes}
    )
    return models.build(config, spec, head, seed=1)


def with_random_weights(model: Any) -> Any:
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def weights_of(model: Any, layer: str) -> list[np.ndarray]:
    return [np.asarray(w, np.float64) for w in model.get_layer(layer).weights]


def piecewise(rows: np.ndarray, **changes: Any) -> InputSpec:
    inputs = InputConfig(arrangement="piecewise", **changes)
    mean, std = rows.mean(0), rows.std(0)
    return InputSpec(mean, std, (rows.shape[1], 1), Fit.of(inputs, rows.astype(np.float32), mean, std))


def columns() -> np.ndarray:
    """Plain numbers, few values, one value."""
    rng = np.random.default_rng(2)
    return np.stack([rng.normal(3, 2, 500), rng.integers(0, 3, 500), np.full(500, 7.0)], axis=1)
