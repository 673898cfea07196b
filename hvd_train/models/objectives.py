"""The table of objectives: for each loss its head, the labels it suits, and what a trained model predicts.

A new objective is one class, here or in a user's file (`--loss path/to/file.py:NAME`): a `ProbabilityObjective` for
models that predict how likely each label is, a `ValueObjective` for models that predict a number.

This file imports neither Keras nor TensorFlow: it is read where a run is evaluated, and before TensorFlow's settings
are made. Methods that compute in Keras import it themselves. Shape letters: N rows, K labels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hvd_train.config import ObjectiveConfig, is_reference, resolve
from hvd_train.errors import ConfigError

if TYPE_CHECKING:
    from hvd_train.models.heads import Head
    from hvd_train.models.losses import TrainLoss

Predicts = Literal["probabilities", "value", "normal"]
"""probabilities: a number for each label (N, K), logarithms of probabilities up to a constant. value: one number (N, 1).
normal: the mean and the standard deviation of a number (N, 2)."""


@dataclass(frozen=True)
class LossSettings:
    """What the loss of a run depends on beside its name."""

    config: ObjectiveConfig
    soft: bool
    """Whether targets are shares (N, K), or standardised values (N, 1), and not class indices."""
    scale: float = 1.0
    """The standard deviation of the labels, in their own units."""
    delta: float = 1.0
    """huber: the error from which the loss grows linearly, in the labels' units."""


class Objective:
    """The base of both kinds. Derive from `ProbabilityObjective` or `ValueObjective` instead."""

    head: str | Head
    """The last layers: a name in `hvd_train.models.heads.HEADS`, or a `Head` of your own."""
    label_kinds: tuple[str, ...]
    """Of years, integers, classes and values: the labels it can be trained on."""
    takes_shares: bool
    """Whether a row can be trained towards several labels at once: --targets, --label-smoothing, mixup."""
    takes_indices: bool = False
    """Whether targets are class indices (N,) where a row is trained towards one label."""

    def predicts(self, label_kind: str) -> Predicts:
        """What a trained model predicts for labels of this kind."""
        raise NotImplementedError

    def loss(self, targets: Any, outputs: Any) -> Any:
        """The loss of each row (N,), in keras.ops, from the outputs of the head."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(targets, outputs)")

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        """What Keras trains on: `loss`, averaged over the rows."""
        from hvd_train.models.losses import RowLoss, TrainLoss

        return TrainLoss(RowLoss(self.loss))


class ProbabilityObjective(Objective):
    """Trains a probability for each label. `loss` gets targets (N, K), shares that sum to 1, and the head's outputs.

    By default the head is a softmax: outputs are logits (N, K).
    """

    head = "softmax"
    label_kinds: tuple[str, ...] = ("years", "integers", "classes")
    takes_shares = True

    def predicts(self, label_kind: str) -> Predicts:
        return "probabilities"


class ValueObjective(Objective):
    """Trains one number. `loss` gets targets (N, 1) and outputs (N, 1), in standard deviations from the labels' mean."""

    head = "point"
    label_kinds: tuple[str, ...] = ("years", "integers", "values")
    takes_shares = False
    constant: Literal["mean", "median"] = "mean"
    """The constant of the train labels that the trivial baseline predicts."""
    degree: int | None = None
    """d where the loss of an error c times as large is c ** d times as large; None where there is no such d. With it
    the loss of training is reported in the labels' units."""

    def predicts(self, label_kind: str) -> Predicts:
        return "value"

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        import keras

        from hvd_train.models.losses import RowLoss, TrainLoss

        function = RowLoss(lambda targets, outputs: self.loss(keras.ops.reshape(targets, (-1, 1)), outputs))
        return TrainLoss(function, factor=settings.scale ** (self.degree or 0))

    def row_loss(self, error_N: np.ndarray, std_N: np.ndarray | float, delta: float) -> np.ndarray:
        """(N,) the loss of predictions that are off by `error_N`, in the labels' units: the figure called loss.

        `std_N` is the predicted standard deviation, of models that predict one.
        """
        import keras

        error_N1 = keras.ops.convert_to_tensor(error_N.astype(np.float64)[:, None])
        return np.asarray(self.loss(keras.ops.zeros_like(error_N1), error_N1), np.float64).reshape(-1)


class CrossEntropy(ProbabilityObjective):
    """The negative logarithm of the probability of the true label."""

    takes_indices = True

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        import keras

        from hvd_train.models.losses import RowLoss, TrainLoss, sparse_cross_entropy

        soft = keras.losses.CategoricalCrossentropy(from_logits=True)
        return TrainLoss(soft if settings.soft else RowLoss(sparse_cross_entropy))


class Focal(ProbabilityObjective):
    """Cross-entropy that leaves aside rows that are predicted well (Lin et al. 2017, arXiv 1708.02002)."""

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        import keras

        from hvd_train.models.losses import TrainLoss

        gamma = settings.config.focal_gamma
        return TrainLoss(keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=gamma, from_logits=True))


class Coral(ProbabilityObjective):
    """Ordered thresholds (Cao et al. 2020)."""

    head = "coral"
    label_kinds: tuple[str, ...] = ("years", "integers")

    def loss(self, targets: Any, outputs: Any) -> Any:
        from hvd_train.models.losses import coral_loss

        return coral_loss(targets, outputs)


class Corn(Coral):
    """Ordered thresholds, each conditional on the one before (Shi et al. 2021)."""

    head = "corn"

    def loss(self, targets: Any, outputs: Any) -> Any:
        from hvd_train.models.losses import corn_loss

        return corn_loss(targets, outputs)


class SquaredError(ValueObjective):
    """The squared error."""

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        import keras

        from hvd_train.models.losses import TrainLoss

        return TrainLoss(keras.losses.MeanSquaredError(), factor=settings.scale**2)

    def row_loss(self, error_N: np.ndarray, std_N: np.ndarray | float, delta: float) -> np.ndarray:
        return np.asarray(error_N**2)


class AbsoluteError(ValueObjective):
    """The absolute error."""

    constant = "median"

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        import keras

        from hvd_train.models.losses import TrainLoss

        return TrainLoss(keras.losses.MeanAbsoluteError(), factor=settings.scale)

    def row_loss(self, error_N: np.ndarray, std_N: np.ndarray | float, delta: float) -> np.ndarray:
        return np.asarray(np.abs(error_N))


class Huber(ValueObjective):
    """Half the squared error up to delta, linear beyond."""

    constant = "median"

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        import keras

        from hvd_train.models.losses import TrainLoss

        delta, scale = settings.delta, settings.scale
        # Beyond these float32 cannot tell it from mae, or from mse. The gradient of a large error is 1, as that of mae,
        # and where no error is that large it is that of mse.
        at = float(np.clip(delta / scale, 1e-6, 1e6))
        return TrainLoss(keras.losses.Huber(at), weight=1 / min(at, 1.0), factor=scale * min(delta, scale))

    def row_loss(self, error_N: np.ndarray, std_N: np.ndarray | float, delta: float) -> np.ndarray:
        size = np.abs(error_N)
        return np.asarray(np.where(size <= delta, 0.5 * error_N**2, delta * (size - 0.5 * delta)))


class Gaussian(ValueObjective):
    """The negative log-likelihood of a normal distribution. Of labels it predicts the share of each."""

    head = "gaussian"

    def predicts(self, label_kind: str) -> Predicts:
        return "normal" if label_kind == "values" else "probabilities"

    def train_loss(self, settings: LossSettings) -> TrainLoss:
        from hvd_train.models.losses import RowLoss, TrainLoss, gaussian_loss

        return TrainLoss(RowLoss(gaussian_loss), offset=math.log(settings.scale))

    def row_loss(self, error_N: np.ndarray, std_N: np.ndarray | float, delta: float) -> np.ndarray:
        return np.asarray(0.5 * (error_N / std_N) ** 2 + np.log(std_N) + 0.5 * np.log(2 * np.pi))


OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": CrossEntropy(),
    "focal": Focal(),
    "coral": Coral(),
    "corn": Corn(),
    "mse": SquaredError(),
    "mae": AbsoluteError(),
    "huber": Huber(),
    "gaussian": Gaussian(),
}
# What --loss auto stands for.
DEFAULT, DEFAULT_OF_VALUES = "cross-entropy", "mse"


@functools.lru_cache
def objective(name: str) -> Objective:
    """The objective called `name`: an entry of the table, or what a reference names. ConfigError where it is none."""
    if not is_reference(name):
        return OBJECTIVES[name]
    found = resolve(name, key="loss")
    made = found() if isinstance(found, type) and issubclass(found, Objective) else found
    if not isinstance(made, ProbabilityObjective | ValueObjective):
        raise ConfigError(
            f"loss = {name!r} is not possible: {found!r} is no hvd_train.models.ProbabilityObjective and no "
            "hvd_train.models.ValueObjective. Derive a class from one of them."
        )
    return made


def objective_for(name: str, label_kind: str) -> tuple[str, Objective]:
    """The loss in use for labels of this kind ("auto" decided), and its objective. Pure.

    Raises:
        ConfigError: the loss and the labels do not go together.
    """
    if name == "auto":
        name = DEFAULT_OF_VALUES if label_kind == "values" else DEFAULT
    chosen = objective(name)
    if label_kind not in chosen.label_kinds:
        others = ", ".join(other for other, entry in OBJECTIVES.items() if label_kind in entry.label_kinds)
        why, way_out = {
            "values": ("the labels are real values", ", or bin them with --label-kind integers"),
            "classes": ("the labels are names, without order or distance", ""),
        }.get(label_kind, (f"it is not for labels that are {label_kind}", ""))
        raise ConfigError(f"loss = {name!r} is not possible: {why}. Choose {others}{way_out}.")
    return name, chosen


def point_objective(name: str) -> ValueObjective:
    """The objective of a model that predicts values. Pure."""
    found = objective(name)
    assert isinstance(found, ValueObjective)
    return found
