"""Which losses go with which labels and targets, and what is said of those that do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hvd_train.config import RunConfig, TrainingConfig
from hvd_train.errors import ConfigError
from hvd_train.runs.training_state import TrainingState
from hvd_train.training.stopping import Monitor, after_epoch
from hvd_train.training.train_targets import loss_in_use, smoothed, standardised


@pytest.mark.parametrize(
    ("label_kind", "loss", "used"),
    [
        ("years", "auto", "cross-entropy"),
        ("classes", "auto", "cross-entropy"),
        ("values", "auto", "mse"),
        ("years", "corn", "corn"),
        ("integers", "gaussian", "gaussian"),
        ("values", "huber", "huber"),
        ("classes", "focal", "focal"),
    ],
)
def test_the_loss_in_use(label_kind: str, loss: str, used: str) -> None:
    assert loss_in_use(RunConfig().replace(objective={"loss": loss}), label_kind)[0] == used


@pytest.mark.parametrize(
    ("label_kind", "changes", "says"),
    [
        ("values", {"objective": {"loss": "coral"}}, "'coral'.*real values"),
        ("values", {"objective": {"loss": "cross-entropy"}}, "'cross-entropy'.*real values"),
        ("classes", {"objective": {"loss": "mse"}}, "'mse'.*names"),
        ("classes", {"objective": {"loss": "corn"}}, "'corn'.*names"),
        ("years", {"objective": {"loss": "mse", "targets": "gaussian"}}, "'mse'.*soft targets"),
        ("years", {"objective": {"loss": "gaussian", "label_smoothing": 0.1}}, "'gaussian'.*soft targets"),
    ],
)
def test_what_does_not_go_together_is_refused(label_kind: str, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        loss_in_use(RunConfig().replace(**changes), label_kind)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "blocks", 0),
        ("model", "stochastic_depth", 1.0),
        ("model", "input_dropout", -0.1),
        ("model", "squeeze_ratio", -1),
        ("model", "downsample_by", 1),
        ("model", "downsample_after", (3,)),
        ("model", "projection", "8by4"),
        ("objective", "label_smoothing", 1.0),
        ("objective", "focal_gamma", -1.0),
        ("objective", "huber_delta", 0.0),
        ("optimizer", "step_factor", 1.0),
        ("optimizer", "step_epochs", (5.0, 3.0)),
        ("training", "ema_momentum", 1.0),
        ("training", "swa_from", 1.0),
    ],
)
def test_impossible_values_name_their_key(section: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        RunConfig().replace(**{section: {key: value}})


def test_smoothing_keeps_a_share_for_every_label() -> None:
    assert smoothed(np.eye(4, dtype=np.float32), 0.2) == pytest.approx(0.8 * np.eye(4) + 0.05)


def test_values_are_standardised_in_float64_whatever_their_unit() -> None:
    values = np.random.default_rng(0).normal(5, 1, 200)
    plain = standardised(values, values.mean(), values.std())
    for unit in (2.0**-120, 2.0**120):
        scaled = (values * unit).astype(np.float64)
        assert np.array_equal(standardised(scaled, values.mean() * unit, values.std() * unit), plain)
    assert plain.dtype == np.float32


def test_what_the_unit_adds_to_a_loss_is_no_part_of_an_improvement() -> None:
    """gaussian: the loss in another unit is larger by the logarithm of it."""
    training = TrainingConfig()
    for offset in (0.0, math.log(1e31), -math.log(1e31)):
        before = after_epoch(TrainingState(), {"val_loss": 1.0 + offset}, training, monitor=Monitor(offset=offset))
        after = after_epoch(before, {"val_loss": 1.0 - 2e-5 + offset}, training, monitor=Monitor(offset=offset))
        assert (after.best_epoch, after.epochs_since_best) == (2, 0)
