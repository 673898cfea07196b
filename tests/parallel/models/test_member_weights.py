"""tabm whose members have weights of their own: M networks of the kind mlp in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tabm_models import HEADS, F, M, built, columns, piecewise, with_random_weights

from hvd_train import models
from hvd_train.config import ModelConfig
from hvd_train.models.inputs import InputSpec


@pytest.mark.parametrize("arrangement", ["columns", "piecewise"])
def test_members_with_weights_of_their_own_are_mlps(arrangement: str) -> None:
    """Each gives what an mlp with its weights gives, on the same piecewise-linear functions of the columns."""
    rows, bins = columns(), {"piecewise_bins": 8, "piecewise_channels": 2}
    plain_columns = InputSpec(rows.mean(0), rows.std(0), (3, 1))
    spec = piecewise(rows, **bins) if arrangement == "piecewise" else plain_columns
    settings: dict[str, Any] = {"arrangement": arrangement, "dense_dropout": 0.0, "dense_units": (6, 8), **bins}
    own = with_random_weights(built(HEADS["point"], spec=spec, member_weights="own", **settings))
    plain = models.build(ModelConfig(name="mlp", **settings), spec, HEADS["point"], seed=1)
    if arrangement == "piecewise":
        for name in ("linear", "piecewise"):
            plain.get_layer(name).set_weights(own.get_layer(name).get_weights())
    outputs_NMO = np.asarray(own(rows.astype(np.float32)))
    assert outputs_NMO.shape == (len(rows), M, 1)
    kernel, bias = own.get_layer("dense_0").get_weights()
    for m in range(M):
        plain.get_layer("dense_0").set_weights([kernel[:, 6 * m : 6 * (m + 1)], bias[6 * m : 6 * (m + 1)]])
        plain.get_layer("dense_1").set_weights([w[m] for w in own.get_layer("dense_1").get_weights()])
        plain.get_layer("standardised").set_weights([w[m] for w in own.get_layer("standardised").get_weights()])
        assert outputs_NMO[:, m] == pytest.approx(np.asarray(plain(rows.astype(np.float32))), rel=1e-4, abs=1e-3)


def test_weights_of_their_own_start_as_those_of_an_mlp() -> None:
    """Uniform within Glorot's limits, which Keras would take from all members together, and another draw for each."""
    model = built(dense_units=(16, 24), member_weights="own")
    for index, (inputs, units) in enumerate([(F, 16), (16, 24)]):
        kernel, bias = model.get_layer(f"dense_{index}").get_weights()
        limit = np.sqrt(6 / (inputs + units))
        assert 0.9 * limit < np.abs(kernel).max() <= limit
        assert not bias.any()
        each = kernel.reshape(inputs, M, units).swapaxes(0, 1) if index == 0 else kernel
        assert len(np.unique(each[:, 0, 0])) == M
