"""Early stopping, reduce-on-plateau and the learning rate: plain functions, alike on every rank."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.config import OptimizerConfig, TrainingConfig
from hvd_train.errors import ConfigError
from hvd_train.optimizers.learning_rate import RateCurve, fall_steps, num_warmup_steps, scaled_learning_rate
from hvd_train.runs.training_state import TrainingState
from hvd_train.training.automatic_defaults import patience_for
from hvd_train.training.stopping import Monitor, after_epoch


def after(losses: list[float], **training: float) -> TrainingState:
    state = TrainingState()
    for loss in losses:
        state = after_epoch(state, {"val_loss": loss}, TrainingConfig(**training))  # type: ignore[arg-type]
    return state


def test_the_best_epoch_is_remembered_and_patience_ends_the_run() -> None:
    state = after([3.0, 2.0, 2.5, 2.1], early_stopping_patience=3)
    assert (state.best_epoch, state.best_loss, state.epoch, state.stopped_early) == (2, 2.0, 4, False)
    assert after([3.0, 2.0, 2.5, 2.1, 2.2], early_stopping_patience=3).stopped_early
    assert not after([3.0, 2.0, 2.5, 2.1, 1.9, 2.0, 2.0], early_stopping_patience=3).stopped_early
    assert not after([1.0] * 50, early_stopping_patience=0).stopped_early


def test_a_patience_below_one_is_a_share_of_all_epochs() -> None:
    assert [patience_for(patience, 50) for patience in (0, 0.001, 0.2, 0.21, 1, 16)] == [0, 1, 10, 11, 1, 16]
    given = TrainingConfig(early_stopping_patience=16.0, plateau_patience=0.5)
    assert (repr(given.early_stopping_patience), given.plateau_patience) == ("16", 0.5)
    for patience in (-1, -0.5, 1.5):
        with pytest.raises(ConfigError, match=f"early_stopping_patience = {patience} is not possible: it is"):
            TrainingConfig(early_stopping_patience=patience)


def test_a_rounding_is_no_improvement() -> None:
    assert after([2.0, 2.0 - 1e-7]).best_epoch == 1
    assert after([2.0, 2.0 - 1e-3]).best_epoch == 2


def test_the_rate_falls_on_each_plateau() -> None:
    assert after([2, 2, 2], plateau_patience=2, early_stopping_patience=0).plateau_factor == 0.5
    assert after([2, 2, 2, 2, 2], plateau_patience=2, early_stopping_patience=0).plateau_factor == 0.25
    assert after([2, 2, 1, 1, 0.5], plateau_patience=2).plateau_factor == 1.0


@given(st.lists(st.floats(0.1, 10, allow_nan=False), min_size=1, max_size=20))
def test_the_best_loss_is_the_least_to_within_what_counts(losses: list[float]) -> None:
    state = after(losses, early_stopping_patience=0)
    assert state.best_loss is not None
    assert min(losses) <= state.best_loss <= min(losses) * (1 + 1e-4)
    assert state.history == [{"val_loss": loss} for loss in losses]


def test_a_monitored_metric_chooses_instead_of_the_loss() -> None:
    rows = [(1.0, 0.2), (2.0, 0.4), (3.0, 0.4), (4.0, 0.3)]  # the loss grows, and so does the accuracy
    state = TrainingState()
    for loss, accuracy in rows:
        row = {"val_loss": loss, "val_accuracy": accuracy}
        monitor = Monitor("val_accuracy", higher_is_better=True)
        training = TrainingConfig(early_stopping_patience=2, plateau_patience=2)
        state = after_epoch(state, row, training, monitor=monitor)
    assert (state.best_epoch, state.best_loss, state.epochs_since_best, state.stopped_early) == (2, 2.0, 2, True)
    assert state.plateau_factor == 0.5
    assert after([loss for loss, _ in rows]).best_epoch == 1


@pytest.mark.parametrize("higher", [True, False])
def test_a_rounding_is_no_improvement_of_any_metric(higher: bool) -> None:
    monitor, sign = Monitor("val_x", higher_is_better=higher), 1 if higher else -1
    assert monitor.is_improvement(0.0, None)
    assert monitor.is_improvement(sign * 1e-3, 0.0)
    assert not monitor.is_improvement(2.0 + sign * 1e-7, 2.0)
    assert monitor.is_improvement(2.0 + sign * 1e-3, 2.0)
    assert not monitor.is_improvement(2.0 - sign * 1e-3, 2.0)


@pytest.mark.parametrize(("scaling", "expected"), [("linear", 4e-3), ("sqrt", 2e-3), ("none", 1e-3)])
def test_the_rate_is_a_function_of_the_global_batch(scaling: str, expected: float) -> None:
    config = OptimizerConfig(base_learning_rate=1e-3, reference_batch_size=256, rate_scaling=scaling)  # type: ignore[arg-type]
    assert scaled_learning_rate(config, 1024) == pytest.approx(expected)
    assert scaled_learning_rate(config, 256) == pytest.approx(1e-3)


def test_warm_up_then_cosine() -> None:
    config = OptimizerConfig(warmup_epochs=2)
    assert num_warmup_steps(config, steps_per_epoch=10, num_epochs=20) == 20
    assert num_warmup_steps(config, steps_per_epoch=10, num_epochs=2) == 10
    cosine = RateCurve(1.0, warmup_steps=20, total_steps=200, schedule="cosine")
    rates = [cosine.at(s) for s in range(201)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[19] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert rates[200] == pytest.approx(0.01)
    assert all(a <= b for a, b in pairwise(rates[:20]))
    assert all(a >= b for a, b in pairwise(rates[20:]))
    assert RateCurve(1.0, warmup_steps=20, total_steps=200, schedule="constant").at(150) == 1.0


def test_the_rate_falls_in_steps() -> None:
    config = OptimizerConfig(schedule="step", step_epochs=(2, 5))
    assert fall_steps(config, steps_per_epoch=10, num_epochs=8) == (20, 50)
    assert fall_steps(OptimizerConfig(schedule="step"), steps_per_epoch=10, num_epochs=8) == (40, 60)
    curve = RateCurve(1.0, warmup_steps=5, total_steps=80, schedule="step", falls_at=(20, 50), step_factor=0.5)
    rates = [curve.at(step) for step in (4, 19, 20, 49, 50, 79)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
