"""Ordinal heads, Gaussian ones and soft labels against brute force on small cases."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from hvd_train.config import ObjectiveConfig
from hvd_train.data.targets import target_table
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.models.heads import HeadSpec, head, later_logits
from hvd_train.models.losses import coral_loss, corn_loss, gaussian_loss, sparse_cross_entropy
from hvd_train.models.members import predicted
from hvd_train.models.objectives import LossSettings, objective
from hvd_train.models.seeds import Seeds
from hvd_train.training.train_targets import standardised

K = 5
YEARS = np.array([2000.0, 2001, 2002, 2003, 2005])
LOGITS = np.random.default_rng(0).normal(0, 2, (7, K - 1)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 4, 0])
ONE_HOT = np.eye(K, dtype=np.float32)[LABELS]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_coral_is_a_binary_cross_entropy_for_each_threshold() -> None:
    found = np.asarray(coral_loss(ONE_HOT, LOGITS))
    for n, label in enumerate(LABELS):
        terms = [math.log(sigmoid(z)) if label > k else math.log(1 - sigmoid(z)) for k, z in enumerate(LOGITS[n])]
        assert found[n] == pytest.approx(-sum(terms), rel=1e-5)


def test_corn_trains_each_task_on_the_rows_that_reach_it() -> None:
    found = np.asarray(corn_loss(ONE_HOT, LOGITS))
    for n, label in enumerate(LABELS):
        loss = 0.0
        for k, z in enumerate(LOGITS[n]):
            if label > k - 1:  # the paper's subset of task k
                loss -= math.log(sigmoid(z)) if label > k else math.log(1 - sigmoid(z))
        assert found[n] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("loss", [coral_loss, corn_loss])
def test_soft_targets_are_the_mean_over_their_labels(loss: object) -> None:
    soft = np.array([[0.2, 0.0, 0.5, 0.3, 0.0]], np.float32)
    apart = [float(loss(np.eye(K, dtype=np.float32)[[k]], LOGITS[:1])[0]) for k in range(K)]  # type: ignore[operator]
    assert float(loss(soft, LOGITS[:1])[0]) == pytest.approx(float(soft[0] @ apart), rel=1e-5)  # type: ignore[operator]


def test_corn_predicts_the_product_of_its_probabilities() -> None:
    spec = HeadSpec("corn", np.log(np.full(K, 1 / K)), YEARS)
    probabilities = np.exp(np.asarray(predicted(keras.ops.convert_to_tensor(LOGITS), spec)))
    for n in range(len(LOGITS)):
        later = np.cumprod([sigmoid(z) for z in LOGITS[n]])
        expected = -np.diff(np.concatenate([[1.0], later, [0.0]]))
        assert probabilities[n] == pytest.approx(expected, abs=1e-5)


def test_coral_predicts_the_difference_of_its_thresholds() -> None:
    spec = HeadSpec("coral", np.log(np.full(K, 1 / K)), YEARS)
    ordered = -np.sort(-LOGITS, axis=1)
    probabilities = np.exp(np.asarray(predicted(keras.ops.convert_to_tensor(ordered), spec)))
    later = 1 / (1 + np.exp(-ordered))
    expected = -np.diff(np.concatenate([np.ones((7, 1)), later, np.zeros((7, 1))], axis=1), axis=1)
    assert probabilities == pytest.approx(expected, abs=1e-5)
    out_of_order = np.exp(np.asarray(predicted(keras.ops.convert_to_tensor(LOGITS), spec)))
    assert (out_of_order > 0).all()
    assert out_of_order.sum(1) == pytest.approx(1, abs=1e-5)


def test_gaussian_predicts_its_share_of_the_bin_of_each_label() -> None:
    spec = HeadSpec("gaussian", np.log(np.full(K, 1 / K)), YEARS, mean=2002.0, scale=2.0)
    outputs = np.array([[0.25, math.log(0.5)], [-1.0, 0.0]], np.float32)
    probabilities = np.exp(np.asarray(predicted(keras.ops.convert_to_tensor(outputs), spec)))
    edges = [-math.inf, 2000.5, 2001.5, 2002.5, 2004.0, math.inf]
    for row, (mean, deviation) in zip(probabilities, [(2002.5, 1.0), (2000.0, 2.0)], strict=True):
        cdf = [0.5 * (1 + math.erf((e - mean) / deviation / math.sqrt(2))) for e in edges]
        assert row == pytest.approx(np.diff(cdf), abs=1e-5)


def test_cross_entropy_of_class_indices_is_keras_s() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (7, K)).astype(np.float32)
    expected = keras.losses.sparse_categorical_crossentropy(LABELS, logits, from_logits=True)
    assert np.asarray(sparse_cross_entropy(LABELS.astype(np.float32)[:, None], logits)) == pytest.approx(
        np.asarray(expected), rel=1e-5
    )
    weights = np.arange(7.0)
    loss = objective("cross-entropy").train_loss(LossSettings(ObjectiveConfig(), False))
    assert float(loss.function(LABELS, logits, sample_weight=weights)) == pytest.approx(
        float(np.mean(expected * weights)), rel=1e-5
    )
    assert (loss.weight, loss.in_units(0.5)) == (1.0, 0.5)


def test_gaussian_loss_is_the_negative_log_likelihood_in_the_labels_units() -> None:
    outputs, values = np.array([[0.25, math.log(0.5)], [-1.0, 0.0]], np.float32), np.array([2003.0, 1999.0], np.float32)
    loss = objective("gaussian").train_loss(LossSettings(ObjectiveConfig(), True, scale=2.0))
    found = [loss.in_units(float(nll)) for nll in np.asarray(gaussian_loss((values - 2002) / 2, outputs))]
    for n, (mean, deviation) in enumerate([(2002.5, 1.0), (2000.0, 2.0)]):
        density = math.exp(-0.5 * ((values[n] - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
        assert found[n] == pytest.approx(-math.log(density), rel=1e-4)


def test_hl_gauss_is_the_integral_over_the_bins() -> None:
    table = target_table("gaussian", tuple(range(2000, 2009)), sigma=1.5)
    grid = np.linspace(2003.5, 2004.5, 2001)
    density = np.exp(-0.5 * ((grid - 2002) / 1.5) ** 2)
    whole = np.linspace(1999.5, 2008.5, 18001)
    share = np.trapezoid(density, grid) / np.trapezoid(np.exp(-0.5 * ((whole - 2002) / 1.5) ** 2), whole)
    assert table[2, 4] == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize("kind", ["softmax", "coral", "corn"])
def test_a_network_that_has_learnt_nothing_predicts_the_shares_of_train(kind: str) -> None:
    share = np.array([0.1, 0.2, 0.05, 0.4, 0.25])
    spec = HeadSpec(kind, np.log(share), YEARS)  # type: ignore[arg-type]
    x = keras.Input((3,))
    model = keras.Model(x, predicted(head(x, spec, Seeds(0, 0)), spec))
    logits = np.asarray(model(np.zeros((1, 3), np.float32)), np.float64)[0]
    assert np.exp(logits) / np.exp(logits).sum() == pytest.approx(share, abs=1e-5)


def test_thresholds_of_a_label_that_never_occurs_are_finite() -> None:
    assert np.isfinite(later_logits(np.log(np.array([0.5, 1e-12, 0.5 - 1e-12])), conditional=True)).all()


def test_focal_loss_leaves_aside_what_is_predicted_well() -> None:
    logits = np.array([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    loss = objective("focal").train_loss(LossSettings(ObjectiveConfig(focal_gamma=2.0), True))
    p = np.exp(logits[:, 0]) / np.exp(logits).sum(1)
    expected = np.mean(-((1 - p) ** 2) * np.log(p))
    assert float(loss.function(np.eye(3, dtype=np.float32)[[0, 0]], logits)) == pytest.approx(expected, rel=1e-4)
    assert (loss.weight, loss.in_units(0.5)) == (1.0, 0.5)


@pytest.mark.parametrize("unit", [1e-30, 1e-19, 1.0, 1e31])
@pytest.mark.parametrize("kind", ["mse", "mae", "huber", "gaussian"])
def test_a_loss_of_values_is_that_of_their_unit_and_its_gradient_is_not(kind: str, unit: float) -> None:
    """What is logged in training, from float32 and standardised values, is the exact loss in the labels' unit."""
    rng = np.random.default_rng(0)
    mean, scale = 5 * unit, 2 * unit
    truth = mean + scale * rng.normal(size=50)
    outputs = rng.normal(size=(50, 2 if kind == "gaussian" else 1)).astype(np.float32)
    spec = OutputSpec.of("values", (), kind, delta=0.7 * scale)
    loss = objective(kind).train_loss(LossSettings(ObjectiveConfig(), True, scale=scale, delta=spec.delta))
    weights = keras.ops.convert_to_tensor(outputs)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        trained = loss.weight * loss.function(standardised(truth, mean, scale), weights)
    z = outputs.astype(np.float64)
    deviation = scale * np.exp(np.clip(z[:, 1], -4, 2)) if kind == "gaussian" else 1.0
    exact = spec.loss_of_errors(mean + scale * z[:, 0] - truth, deviation).mean()
    assert loss.in_units(float(trained)) == pytest.approx(exact, rel=1e-5)
    assert 1e-3 < float(np.abs(tape.gradient(trained, weights)).max()) < 10


@pytest.mark.parametrize(("delta", "like"), [(1e-30, "mae"), (1e30, "mse")])
def test_a_huber_of_another_unit_s_delta_is_mae_or_mse(delta: float, like: str) -> None:
    z, outputs = np.linspace(-3, 3, 20, dtype=np.float32), np.zeros((20, 1), np.float32)
    found = objective("huber").train_loss(LossSettings(ObjectiveConfig(), True, scale=1.0, delta=delta))
    other = objective(like).train_loss(LossSettings(ObjectiveConfig(), True, scale=1.0))
    half = 0.5 if like == "mse" else 1.0
    assert found.weight * float(found.function(z, outputs)) == pytest.approx(
        half * float(other.function(z, outputs)), rel=1e-5
    )
