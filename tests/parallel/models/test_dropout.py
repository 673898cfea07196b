"""The dropout of training: the share that was asked for, other numbers in each step, the same at any number of ranks, and
Keras's own layer when saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from resuming import assert_same_end, stopped

from hvd_train import models
from hvd_train.config import recipes
from hvd_train.data.schema import NUM_SONG_TIMBRES
from hvd_train.distributed.world import World
from hvd_train.models.dropout import Dropout, random_rows
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.models.seeds import generator_states, part_from_root
from hvd_train.runs import checkpoint
from hvd_train.runs.directory import RunDir
from hvd_train.training.precision.float32_copy import in_float32
from hvd_train.training.run import train_and_evaluate


@pytest.mark.parametrize("rate", [0.25, 0.1, 0.5, 1 / 3])
def test_the_share_is_dropped_and_the_mean_is_kept(rate: float) -> None:
    layer, x = Dropout(rate, seed=1), np.ones((101, 999), np.float32)
    y = np.asarray(layer(x, training=True))
    spread = np.sqrt(rate * (1 - rate) / x.size)
    assert (y == 0).mean() == pytest.approx(rate, abs=5 * spread)
    assert np.unique(y).size == 2
    assert y.max() == pytest.approx(1 / (1 - rate), rel=1e-4)
    again = np.asarray(layer(x, training=True))
    assert ((y == 0) & (again == 0)).mean() == pytest.approx(rate**2, abs=5 * spread), (
        "two steps know nothing of each other"
    )
    rows = (y == 0).astype(float)
    assert abs(np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]) < 0.02
    assert np.array_equal(layer(x, training=False), x)


def test_equal_seeds_drop_the_same() -> None:
    x = np.ones((50, 7), np.float32)
    one, same, other = (np.asarray(Dropout(0.5, seed=seed)(x, training=True)) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_every_kind_of_number_and_size() -> None:
    state = tf.constant([0, 1], tf.int64)
    for kind in (tf.uint8, tf.uint16):
        for length in (1, 15, 16, 42):
            bits = random_rows(tf.constant(3), length, kind, state, rank=0)
            assert (bits.shape, bits.dtype) == ((3, length), kind)
        many = np.asarray(random_rows(tf.constant(1000), 100, kind, state, rank=0), np.float64) / 2 ** (8 * kind.size)
        assert np.histogram(many, 16, (0, 1))[0] == pytest.approx(100_000 / 16, rel=0.06)


@pytest.mark.parametrize("rate", [0.5, 1 / 3])
@pytest.mark.parametrize("noise_shape", [None, (None, 1, 1), (None, 1, 7)])
@pytest.mark.parametrize("shape", [(5, 7), (90, 7)])
def test_ranks_drop_what_one_process_drops_of_the_global_batch(
    world: World, rate: float, noise_shape: tuple[Any, ...] | None, shape: tuple[int, int]
) -> None:
    rows = 12 * world.size
    x = np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)
    alone = Dropout(rate, noise_shape, seed=3)
    own = Dropout(rate, noise_shape, seed=3, rank=world.rank)
    for _ in range(3):
        whole = np.asarray(alone(x, training=True))
        part = np.asarray(own(x[12 * world.rank : 12 * (world.rank + 1)], training=True))
        assert np.array_equal(np.concatenate(world.allgather(part)), whole)
        assert 0 < (whole == 0).mean() < 1


def test_nearly_everything_can_be_dropped() -> None:
    y = np.asarray(Dropout(0.999999, seed=1)(np.ones((100, 1000), np.float32), training=True))
    assert np.isfinite(y).all()


def test_a_mask_for_all_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with None"):
        Dropout(0.5, noise_shape=(1, 7))


def test_layers_that_know_nothing_of_ranks_draw_other_numbers_on_each(world: World) -> None:
    """The root's state on all, as after a broadcast: ours stay equal, Keras's own differ, and the root's is as it was."""
    layers = [Dropout(0.5, seed=1), Dropout(0.0, seed=1), keras.layers.GaussianNoise(0.1, seed=1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    part_from_root(model, world.rank)
    states = world.allgather([np.asarray(state).tolist() for state in generator_states(model)])
    assert states[0] == [[1, 0], [1, 0]]
    assert {tuple(ours) for ours, _ in states} == {(1, 0)}
    assert len({tuple(other) for _, other in states}) == world.size


def test_the_copy_that_is_saved_has_layers_of_keras_alone() -> None:
    F = NUM_SONG_TIMBRES
    spec, head = InputSpec(np.zeros(F), np.ones(F), (F, 1)), HeadSpec("softmax", np.zeros(4, np.float32))
    model = models.build(recipes.DEFAULT.model, spec, head, seed=1)
    assert [layer for layer in model.layers if isinstance(layer, Dropout)]
    copy = in_float32(model)
    assert {type(layer).__module__.split(".")[0] for layer in copy.layers} == {"keras"}
    x = np.random.default_rng(0).normal(size=(5, F)).astype(np.float32)
    assert np.asarray(copy(x)) == pytest.approx(np.asarray(model(x)), abs=1e-6)


# All that is drawn: dropout, mixup, noise, rare rows repeated, blocks left out; and averaged weights.
DRAWN = recipes.DEBUG.replace(
    table={"num_songs": 1200},
    split={"num_virtual_shards": 60},
    sampling={
        "noise": 0.2,
        "feature_dropout": 0.1,
        "mixup_alpha": 0.3,
        "balance": "repeat",
    },
    model={"name": "residual_cnn", "filters": (4, 4), "stochastic_depth": 0.5, "dense_dropout": 0.5},
    training={
        "num_epochs": 2,
        "global_batch_size": 120,
        "averaging": "ema",
        "ema_momentum": 0.9,
        "checkpoint_every_steps": 3,
        "steps_per_execution": 1,
    },
)


@pytest.mark.slow
def test_a_run_that_was_interrupted_draws_what_the_whole_one_does(
    world: World, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with a layer of Keras's own, which draws for each rank by itself."""
    if 60 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 60 virtual shards")
    body = models.BODIES["residual_cnn"]

    def noisy(x: Any, config: Any, seeds: Any) -> Any:
        return body(keras.layers.GaussianNoise(0.1, seed=5)(x), config, seeds)

    monkeypatch.setitem(models.BODIES, "residual_cnn", noisy)
    # Of 7 steps an epoch takes 6, three updates; on one rank there is nothing to send less often.
    config = DRAWN.replace(distributed={"backward_passes_per_step": 1 if world.size == 1 else 2})
    whole, run_dir = RunDir(shared_dir / "whole"), RunDir(shared_dir / "run")
    train_and_evaluate(config, world, whole)
    stopped(config, world, run_dir, (7 if world.size == 1 else 6) + 5)
    assert checkpoint.load(run_dir.last).state.step == (3 if world.size == 1 else 4)
    train_and_evaluate(config, world, run_dir, resume=True)
    assert_same_end(run_dir, whole)
