"""The dropout of training: the share that was asked for, other numbers in each step, and Keras's own layer when saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from hvd_train import models, recipes
from hvd_train.data.schema import NUM_SONG_TIMBRES
from hvd_train.models.dropout import Dropout, random_bits
from hvd_train.models.heads import HeadSpec
from hvd_train.models.inputs import InputSpec
from hvd_train.precision import in_float32


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
    seeds = keras.random.SeedGenerator(0)
    import tensorflow as tf

    for kind in (tf.uint8, tf.uint16):
        for shape in ((1,), (3, 5), (2, 3, 7)):
            bits = random_bits(tf.constant(shape), kind, seeds)
            assert (bits.shape, bits.dtype) == (shape, kind)
        many = np.asarray(random_bits(tf.constant((100_000,)), kind, seeds), np.float64) / 2 ** (8 * kind.size)
        assert np.histogram(many, 16, (0, 1))[0] == pytest.approx(100_000 / 16, rel=0.06)


def test_the_copy_that_is_saved_has_layers_of_keras_alone() -> None:
    F = NUM_SONG_TIMBRES
    spec, head = InputSpec(np.zeros(F), np.ones(F), (F, 1)), HeadSpec("softmax", np.zeros(4, np.float32))
    model = models.build(recipes.DEFAULT.model, spec, head, seed=1)
    assert [layer for layer in model.layers if isinstance(layer, Dropout)]
    copy = in_float32(model)
    assert {type(layer).__module__.split(".")[0] for layer in copy.layers} == {"keras"}
    x = np.random.default_rng(0).normal(size=(5, F)).astype(np.float32)
    assert np.asarray(copy(x)) == pytest.approx(np.asarray(model(x)), abs=1e-6)
