"""Every network: its shapes, equal weights on all ranks, and a file that plain Keras opens and that predicts the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hvd_train import config, models
from hvd_train.config import ModelConfig, RunConfig, recipes
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError
from hvd_train.inference.export import load_trained
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.runs.directory import RunDir
from hvd_train.training.run import train_and_evaluate

SMALL = recipes.DEBUG.replace(
    table={"num_songs": 1200},
    split={"num_virtual_shards": 12},
    training={"num_epochs": 1, "global_batch_size": 120, "check_equal_weights": True},
)
RESIDUAL = {"name": "residual_cnn", "filters": (8, 16), "squeeze_ratio": 4, "stochastic_depth": 0.3, "blocks": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    "seed_cnn": {"filters": (8, 8, 8), "conv_dropout": 0.2},
    "deep_cnn": {"name": "deep_cnn", "filters": (8, 16), "normalisation": "layer", "pooling": "average", "activation": "gelu"},
    "residual_cnn": RESIDUAL | {"normalisation": "group", "pooling": "max", "activation": "silu", "conv_dropout": 0.1},
    "expansive_cnn": {"name": "expansive_cnn", "filters": (1, 2, 1), "downsample_after": (2,)},
    "mlp": {"name": "mlp", "dense_units": (16, 16), "normalisation": "layer", "transform": "quantile", "input_dropout": 0.1},
    "tabm": {"name": "tabm", "dense_units": (16, 16), "parallel_members": 4, "dense_dropout": 0.1},
    "own members": {"name": "tabm", "dense_units": (16, 16), "parallel_members": 4, "member_weights": "own"},
    "piecewise": {"name": "tabm", "dense_units": (16,), "parallel_members": 4, "transform": "quantile", "arrangement": "piecewise"},
    "linear": {"name": "linear", "transform": "signed-log", "whiten": True},
    "covariance": {"filters": (8,), "arrangement": "covariance", "transform": "log-covariance"},
    "projection": {"filters": (8,), "arrangement": "projection", "projection": "16x2"},
    "permutation": {"filters": (8,), "arrangement": "permutation"},
}  # fmt: skip
# What each file on the command line predicts for the rows of the first.
PLAIN_KERAS = """
import json, sys
sys.modules["horovod"] = sys.modules["hvd_train"] = None
import keras, numpy as np
rows = np.load(sys.argv[1])
for path in sys.argv[2:]:
    said = keras.models.load_model(path, compile=False).predict(rows, verbose=0)
    print(json.dumps({name: np.asarray(part).tolist() for name, part in said.items()}))
"""


def test_each_built_in_network_is_among_these() -> None:
    assert {changes.get("name", "seed_cnn") for changes in NETWORKS.values()} == set(models.BODIES)
    assert set(models.BODIES) | set(models.SERIES_BODIES) == set(config.NETWORKS)


def skip_unless_shared(world: World) -> None:
    if 12 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 12 virtual shards")


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """A run of each network; training itself fails if a weight differs between ranks after the epoch."""
    skip_unless_shared(world)
    base = Path(world.broadcast(str(tmp_path_factory.mktemp("networks"))))
    runs = {}
    for name, changes in NETWORKS.items():
        keras.backend.clear_session()
        runs[name] = RunDir(base / name)
        report = train_and_evaluate(SMALL.replace(model=changes), world, runs[name])
        assert np.isfinite(report.metrics["test"]["loss"])
    return runs


@pytest.mark.slow
def test_every_network_predicts_the_same_in_plain_keras_without_horovod(
    world: World, trained: dict[str, RunDir], tmp_path: Path
) -> None:
    """The root asks one process of plain Keras; the rows hold a missing value and a wild one."""
    if not world.is_root:
        return
    rows = np.random.default_rng(0).normal(0, 50, (5, 90)).astype(np.float32)
    rows[0, 3], rows[1, 5] = np.nan, 1e6
    np.save(tmp_path / "rows.npy", rows)
    files = [str(run.model) for run in trained.values()]
    command = [sys.executable, "-c", PLAIN_KERAS, str(tmp_path / "rows.npy"), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for name, said in zip(trained, answers, strict=True):
        logits = np.asarray(load_trained(trained[name]).model(rows))
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        years = np.arange(1922, 2012)
        assert np.asarray(said["probabilities"]) == pytest.approx(probabilities, abs=1e-5)
        assert np.asarray(said["expected"])[:, 0] == pytest.approx(probabilities @ years, abs=1e-2)
        assert np.asarray(said["most_likely"])[:, 0].tolist() == years[probabilities.argmax(1)].tolist()
        median = years[(probabilities.cumsum(1) >= 0.5).argmax(1)]
        assert np.asarray(said["median"])[:, 0].tolist() == median.tolist()


def test_runs_of_another_kind_of_network_do_not_resume(world: World, shared_dir: Path) -> None:
    from hvd_train.errors import CheckpointError

    skip_unless_shared(world)
    run_dir = RunDir(shared_dir / "linear")
    train_and_evaluate(SMALL.replace(model=NETWORKS["linear"]), world, run_dir)
    with pytest.raises(CheckpointError, match="another model"):
        train_and_evaluate(SMALL.replace(model=NETWORKS["mlp"]), world, run_dir, resume=True)


SPEC = InputSpec(np.zeros(90), np.ones(90), (90, 1))
TABLE = [
    # network, what the layer of this name gives
    ({"filters": (4, 6)}, "conv_1", (90, 6)),
    ({"filters": (4,), "arrangement": "covariance"}, "conv_0", (12, 4)),
    ({"filters": (4,), "arrangement": "projection", "projection": "16x2"}, "conv_0", (16, 4)),
    ({"name": "deep_cnn", "filters": (4, 8)}, "activation_1_0_1", (90, 8)),
    ({"name": "deep_cnn", "filters": (4, 8), "pooling": "average"}, "activation_1_0_1", (45, 8)),
    ({"name": "residual_cnn", "filters": (4, 8), "pooling": "max"}, "pool", (8,)),
    ({"name": "residual_cnn", "filters": (4, 8), "squeeze_ratio": 4}, "squeezed_1_0", (1, 2)),
    ({"name": "expansive_cnn", "filters": (1, 1, 1), "kernel_size": 4}, "activation_3", (99, 1)),
    ({"name": "expansive_cnn", "filters": (1, 1), "downsample_after": (1,)}, "activation_2", (48, 1)),
    ({"name": "mlp", "dense_units": (7, 5)}, "dense_activation_1", (5,)),
    ({"name": "tabm", "dense_units": (7, 5)}, "dense_activation_1", (32, 5)),
    ({"name": "linear"}, "flatten", (90,)),
]


@pytest.mark.parametrize(("changes", "layer", "shape"), TABLE, ids=lambda x: str(x) if isinstance(x, str) else None)
def test_shapes(changes: dict[str, Any], layer: str, shape: tuple[int, ...]) -> None:
    model = models.build(ModelConfig(**changes), SPEC, HeadSpec("softmax", np.zeros(9)), seed=0)
    assert model.get_layer(layer).output.shape[1:] == shape
    assert model.output.shape[-1] == 9


def test_leaves_net_is_the_earlier_project_s() -> None:
    """Conv1D 512x1 on 64 positions of 3 channels, dropout 0.4, dense 2048 and 1024, softmax over 99."""
    config: RunConfig = recipes.recipe("seed-leaves")
    spec = InputSpec(np.zeros(192), np.ones(192), (64, 3))
    model = models.build(config.model, spec, HeadSpec("softmax", np.zeros(99)), seed=0)
    weights = {layer.name: [tuple(w.shape) for w in layer.weights] for layer in model.layers if layer.trainable_weights}
    assert weights == {
        "conv_0": [(1, 3, 512), (512,)],
        "dense_0": [(64 * 512, 2048), (2048,)],
        "dense_1": [(2048, 1024), (1024,)],
        "logits": [(1024, 99), (99,)],
    }
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.4]


@pytest.mark.parametrize("bias", ["shared", "ends", "free"])
def test_expansive_cnn_is_its_matrix_form(bias: Any) -> None:
    """Layer j is ReLU(T h - b), T the (d + js) x (d + (j-1)s) Toeplitz matrix of the filter; then x_m, x_2m, ..."""
    d, s, depth = 11, 2, 3
    config = ModelConfig(
        name="expansive_cnn", filters=(1,) * depth, kernel_size=s + 1, expansive_bias=bias, downsample_after=(2,), downsample_by=3
    )  # fmt: skip
    model = models.build(config, InputSpec(np.zeros(d), np.ones(d), (d, 1)), HeadSpec("softmax", np.zeros(4)), seed=1)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    h = rng.normal(size=d)
    expected = h
    for j in range(1, depth + 1):
        filter_ = np.asarray(model.get_layer(f"conv_{j}").weights[0]).ravel()
        width = len(expected)
        toeplitz = np.zeros((width + s, width))
        for i in range(width + s):
            for k in range(width):
                if 0 <= i - k <= s:
                    # Keras slides the filter as it is; the theory's w runs the other way.
                    toeplitz[i, k] = filter_[::-1][i - k]
        b = _bias_of(model, j, width + s, s, free=bias == "free" or (bias == "ends" and j == depth))
        expected = np.maximum(toeplitz @ expected - b, 0)
        layer = model.get_layer(f"activation_{j}")
        said = np.asarray(keras.Model(model.input, layer.output)(h[None].astype(np.float32)))[0, :, 0]
        assert said == pytest.approx(expected, abs=1e-5)
        if j == 2:
            expected = expected[2::3]


def _bias_of(model: Any, j: int, width: int, s: int, *, free: bool) -> np.ndarray:
    if len(model.get_layer(f"conv_{j}").weights) == 2:
        return -np.asarray(model.get_layer(f"conv_{j}").weights[1])
    vector = np.asarray(model.get_layer(f"bias_{j}").weights[0]).ravel()
    assert len(vector) == (width if free else 2 * s + 1)
    return vector if free else np.concatenate([vector[:s], np.full(width - 2 * s, vector[s]), vector[s + 1 :]])


def test_covariance_needs_the_columns_of_songs() -> None:
    spec = InputSpec(np.zeros(54), np.ones(54), (54, 1))
    with pytest.raises(ConfigError, match="90 columns.*54"):
        models.build(ModelConfig(arrangement="covariance"), spec, HeadSpec("softmax", np.zeros(9)), seed=0)


def test_a_user_s_network_gives_rows_of_units_or_is_refused(tmp_path: Path) -> None:
    (tmp_path / "same.py").write_text("def same(x_NLC):\n    return x_NLC\n")
    config = ModelConfig(name=f"{tmp_path}/same.py:same")
    with pytest.raises(ConfigError, match=r"gives shape \(None, 90, 1\).*one tensor \(N, U\)"):
        models.build(config, SPEC, HeadSpec("softmax", np.zeros(9)), seed=0)
