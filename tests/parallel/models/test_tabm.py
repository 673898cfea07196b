"""tabm and the piecewise-linear inputs against brute force in numpy, for each head and loss; and as a file of plain Keras."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from layer_twins import assert_twins, normal, twins
from tabm_models import HEADS, ROWS, SHARES, SPEC, F, K, M, built, columns, piecewise, weights_of, with_random_weights

from hvd_train import models
from hvd_train.config import ModelConfig, ObjectiveConfig, recipes
from hvd_train.distributed import SoloWorld, World
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.inference.export import deployed
from hvd_train.models.inputs import InputSpec
from hvd_train.models.members import loss_of, predicted
from hvd_train.models.objectives import LossSettings, objective
from hvd_train.models.piecewise import LEAST_WIDTH, intervals
from hvd_train.models.tabm import Scale
from hvd_train.models.transforms import Fit
from hvd_train.runs.directory import RunDir
from hvd_train.training.precision.float32_copy import built_in, in_float32
from hvd_train.training.run import train_and_evaluate


def test_it_is_m_networks_with_rank_one_changes_of_the_same_kernel() -> None:
    model = with_random_weights(built())
    expected = np.empty((len(ROWS), M, K))
    for m in range(M):
        x = ROWS.astype(np.float64)
        for index in range(2):
            (r,) = weights_of(model, f"scaled_inputs_{index}")
            (kernel,) = weights_of(model, f"dense_{index}")
            s, bias = weights_of(model, f"scaled_outputs_{index}")
            x = np.maximum(x @ (np.outer(r[m], s[m]) * kernel) + bias[m], 0)
        kernel, bias = weights_of(model, "logits")
        expected[:, m] = x @ kernel[m] + bias[m]
    assert np.asarray(model(ROWS)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_one_member_is_an_mlp() -> None:
    one = with_random_weights(built(members=1, activation="silu"))
    plain = models.build(
        ModelConfig(name="mlp", dense_units=(6, 8), dense_dropout=0.0, activation="silu"),
        SPEC,
        HEADS["softmax"],
        seed=1,
    )
    for index in range(2):
        (r,), (kernel,) = weights_of(one, f"scaled_inputs_{index}"), weights_of(one, f"dense_{index}")
        s, bias = weights_of(one, f"scaled_outputs_{index}")
        plain.get_layer(f"dense_{index}").set_weights([r[0][:, None] * kernel * s[0], bias[0]])
    plain.get_layer("logits").set_weights([w[0] for w in weights_of(one, "logits")])
    assert np.asarray(one(ROWS))[:, 0] == pytest.approx(np.asarray(plain(ROWS)), rel=1e-4, abs=1e-4)


def test_members_start_from_random_views_of_the_row_and_are_else_alike() -> None:
    """As published: signs for plain columns, one normal number a position where it has several channels."""
    model = built(dense_units=(16,))
    (signs,) = weights_of(model, "scaled_inputs_0")
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert len(np.unique(signs, axis=0)) > 1
    scale, bias = weights_of(model, "scaled_outputs_0")
    assert (scale == 1).all()
    assert (bias == bias[0]).all()
    assert 0 < np.abs(bias).max() <= F**-0.5
    kernel, log_share = weights_of(model, "logits")
    assert np.abs(kernel).max() <= 16**-0.5
    assert len(np.unique(kernel[:, 0, 0])) == M
    assert log_share == pytest.approx(np.tile(SHARES, (M, 1)), abs=1e-6)
    wide = InputSpec(np.zeros(F * 2), np.ones(F * 2), (F, 2))
    (views,) = weights_of(built(spec=wide), "scaled_inputs_0")
    assert (views[:, ::2] == views[:, 1::2]).all()
    assert len(np.unique(views)) == M * F


@pytest.mark.parametrize("name", HEADS)
def test_the_prediction_is_the_mean_of_those_of_the_members(name: str) -> None:
    head = HEADS[name]
    model = with_random_weights(built(head))
    outputs_NMO = np.asarray(model(ROWS))
    together = np.asarray(predicted(keras.ops.convert_to_tensor(outputs_NMO), head))
    apart = np.stack(
        [np.asarray(predicted(keras.ops.convert_to_tensor(outputs_NMO[:, m]), head), np.float64) for m in range(M)]
    )
    if name.startswith("point"):
        assert together == pytest.approx(apart.mean(0), rel=1e-5)
    elif name == "gaussian":  # that of the mixture of their normal distributions
        mean, std = apart[..., 0], apart[..., 1]
        variance = (std**2 + mean**2).mean(0) - mean.mean(0) ** 2
        assert together == pytest.approx(np.stack([mean.mean(0), np.sqrt(variance)], 1), rel=1e-4)
    else:
        shares = np.exp(apart) / np.exp(apart).sum(2, keepdims=True)
        assert np.exp(together) / np.exp(together).sum(1, keepdims=True) == pytest.approx(shares.mean(0), abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "head", "soft"),
    [
        ("cross-entropy", "softmax", False),
        ("cross-entropy", "softmax", True),
        ("focal", "softmax", True),
        ("coral", "coral", True),
        ("corn", "corn", True),
        ("mse", "point", True),
        ("mae", "point", True),
        ("huber", "point", True),
        ("gaussian", "gaussian", True),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_mean_of_those_of_the_members(loss: str, head: str, soft: bool, weighted: bool) -> None:
    rng = np.random.default_rng(5)
    num_outputs = {"softmax": K, "coral": K - 1, "corn": K - 1, "point": 1, "gaussian": 2}[head]
    outputs_NMO = rng.normal(size=(7, M, num_outputs)).astype(np.float32)
    labels = rng.integers(0, K, 7)
    values = rng.normal(size=(7, 1)).astype(np.float32)
    shares = rng.dirichlet(np.ones(K), 7).astype(np.float32)
    targets = values if head in ("point", "gaussian") else shares if soft else labels.astype(np.float32)[:, None]
    weights = rng.uniform(size=7).astype(np.float32) if weighted else None
    of_one = objective(loss).train_loss(LossSettings(ObjectiveConfig(), soft, delta=0.5))
    together = loss_of(keras.ops.convert_to_tensor(outputs_NMO), of_one)
    apart = [float(of_one.function(targets, outputs_NMO[:, m], sample_weight=weights)) for m in range(M)]
    assert float(together.function(targets, outputs_NMO, sample_weight=weights)) == pytest.approx(
        np.mean(apart), rel=1e-5
    )
    assert (together.weight, together.factor, together.offset) == (of_one.weight, of_one.factor, of_one.offset)


def test_piecewise_linear_functions_are_the_formula() -> None:
    rows = columns()
    settings = {"piecewise_bins": 8, "piecewise_channels": 2}
    spec = piecewise(rows, **settings)
    model = with_random_weights(built(spec=spec, arrangement="piecewise", **settings))
    wild = np.concatenate([rows[:20], [[100, 5, 7], [-100, -5, 8], [np.nan, 1, 7]]]).astype(np.float32)
    found = np.asarray(keras.Model(model.input, model.get_layer("positions").output)(wild))
    slope, start = weights_of(model, "linear")
    (kernel_FBC,) = weights_of(model, "piecewise")
    for column in range(3):
        std = rows[:, column].std()
        x = np.nan_to_num((wild[:, column].astype(np.float64) - rows[:, column].mean()) / std) if std else np.zeros(23)
        z = (rows[:, column] - rows[:, column].mean()) / (std or 1.0)
        edges = np.unique(np.round(np.quantile(z, np.linspace(0, 1, 9)), 6))
        count = len(edges) - 1
        expected = np.outer(x, slope[column]) + start[column]
        for b in range(count):
            share = (x - edges[b]) / (edges[b + 1] - edges[b])
            share = np.minimum(share, 1) if b < count - 1 else share
            share = np.maximum(share, 0) if b > 0 else share
            expected += np.outer(share, kernel_FBC[column, b])
        assert count == {0: 8, 1: 2, 2: 0}[column]
        assert found[:, column] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_edges_that_float32_cannot_tell_apart_are_one() -> None:
    edges = np.array([[0.0, LEAST_WIDTH / 2, 1.0, 1.0, 1.0 + LEAST_WIDTH / 3]])
    slopes, starts, low, high = intervals(edges)
    assert slopes.tolist() == [[1, 0, 0, 0]]
    assert np.isfinite([starts, low, high]).all()


@pytest.mark.parametrize(("name", "weights"), [*((name, "shared") for name in HEADS), ("point", "own")])
def test_its_file_holds_keras_s_own_layers_alone(tmp_path: Path, name: str, weights: str) -> None:
    rows, settings = columns(), {"piecewise_bins": 8, "piecewise_channels": 2}
    head = HEADS[name]
    inputs = {"arrangement": "piecewise", "transform": "quantile", **settings}
    spec = piecewise(rows, transform="quantile", **settings)
    model = with_random_weights(built(head, spec=spec, dense_dropout=0.1, member_weights=weights, **inputs))
    kind, loss = ("values" if head.values is None else "integers", {"softmax": "cross-entropy", "point": "mse"})
    if name == "softmax":
        kind = "classes"
    labels: Any = () if kind == "values" else ("a", "b", "c") if kind == "classes" else (0, 1, 2)
    output_spec = OutputSpec.of(kind, labels, loss.get(str(head.kind), str(head.kind)))  # type: ignore[arg-type]
    whole = deployed(in_float32(model), head, output_spec, 1.0)
    whole.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert "hvd_train" not in json.dumps(json.loads(file.read("config.json")))
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    before, after = whole(rows.astype(np.float32)), again(rows.astype(np.float32))
    for one, other in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), rel=1e-5, abs=1e-5)
    raw = np.asarray(keras.Model(again.input, again.get_layer("outputs").output)(rows.astype(np.float32)))
    assert raw == pytest.approx(np.asarray(predicted(model(rows.astype(np.float32)), head)), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("loss", "weights"),
    [("gaussian", "shared"), ("mse", "own"), pytest.param("corn", "shared", marks=pytest.mark.slow)],
)
def test_the_number_of_ranks_does_not_change_the_experiment(
    world: World, shared_dir: Path, tmp_path: Path, loss: str, weights: str
) -> None:
    """All ranks together, and each of them alone, within the rounding of sums in another order. Masks are drawn, too."""
    if 12 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 12 virtual shards")
    config = recipes.DEBUG.replace(
        table={"num_songs": 1200},
        split={"num_virtual_shards": 12},
        model={"name": "tabm", "dense_units": (16, 16), "dense_dropout": 0.1, "parallel_members": 4}
        | {"transform": "quantile", "arrangement": "piecewise", "piecewise_bins": 8, "piecewise_channels": 4}
        | {"member_weights": weights},
        objective={"loss": loss},
        optimizer={"optimizer": "adamw", "weight_decay": 3e-4},
        training={"num_epochs": 2, "global_batch_size": 120},
    )
    alone = SoloWorld(replace(world.placement, rank=0, size=1, local_rank=0, local_size=1), world.settings)
    histories = []
    for ranks, run_dir in ((world, shared_dir / "together"), (alone, tmp_path / "alone")):
        keras.backend.clear_session()
        report = train_and_evaluate(config, ranks, RunDir(run_dir))
        histories.append([(row["loss"], row["val_loss"]) for row in report.history])
        world.allgather(0)
    assert histories[0] == [pytest.approx(row, rel=1e-4) for row in histories[1]]
    assert histories[0][1][0] < histories[0][0][0]


def test_the_network_of_the_recipe_songs_has_as_many_weights_as_published() -> None:
    """n_parameters of the report beside the settings in github.com/yandex-research/tabm."""
    config = recipes.recipe("songs").model
    rows, zeros, ones = np.random.default_rng(0).normal(size=(200, 90)), np.zeros(90), np.ones(90)
    spec = InputSpec(zeros, ones, (90, 1), Fit.of(config, rows, zeros, ones))
    model = models.build(config, spec, HEADS["point"], seed=0)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 1_062_752


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("bias_axes", [None, "mu"])
def test_the_scale_is_keras_s_einsum(bias_axes: str | None, graph: bool) -> None:
    ours, keras_s = twins(
        (Scale, keras.layers.EinsumDense), "nmu,mu->nmu", (M, F), input_shape=(M, F), bias_axes=bias_axes
    )
    assert_twins(ours, keras_s, normal(7, M, F), graph=graph, atol=2e-6)
    assert type(built_in(ours)) is keras.layers.EinsumDense
