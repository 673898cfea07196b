"""Early stopping, reduce-on-plateau and the best epoch, from the validation loss of each epoch. Pure functions.

The root calls `after_epoch` and broadcasts the result, so all ranks stop after the same epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hvd_train.config import TrainingConfig
from hvd_train.runs import TrainingState

# The smallest improvement of the validation loss that counts, as a share of the loss.
MIN_IMPROVEMENT = 1e-5


@dataclass(frozen=True)
class EarlyStopping:
    """Training ends after `patience` epochs without a better validation loss; 0: never."""

    patience: int

    def after(self, state: TrainingState) -> TrainingState:
        stop = bool(self.patience) and state.epochs_since_best >= self.patience
        return replace(state, stopped_early=True) if stop else state


@dataclass(frozen=True)
class ReduceOnPlateau:
    """The learning rate is multiplied by `factor` after `patience` epochs without a better validation loss; 0: never."""

    patience: int
    factor: float

    def after(self, state: TrainingState) -> TrainingState:
        if not self.patience or state.epochs_since_plateau < self.patience:
            return state
        return replace(state, plateau_factor=state.plateau_factor * self.factor, epochs_since_plateau=0)


def is_improvement(loss: float, best_loss: float | None, *, loss_offset: float = 0.0) -> bool:
    """Whether `loss` is better than `best_loss` by more than rounding.

    `loss_offset` is what the unit of the labels adds to a loss (gaussian): no share of that counts as an improvement.
    """
    return best_loss is None or loss < best_loss - MIN_IMPROVEMENT * abs(best_loss - loss_offset)


def after_epoch(
    state: TrainingState, row: dict[str, float], training: TrainingConfig, *, loss_offset: float = 0.0
) -> TrainingState:
    """The state after an epoch whose metrics are `row`. See `is_improvement` for `loss_offset`."""
    better = is_improvement(row["val_loss"], state.best_loss, loss_offset=loss_offset)
    after = replace(
        state,
        epoch=state.epoch + 1,
        step=0,
        losses=[],
        num_steps=0,
        history=[*state.history, row],
        best_loss=row["val_loss"] if better else state.best_loss,
        best_epoch=state.epoch + 1 if better else state.best_epoch,
        epochs_since_best=0 if better else state.epochs_since_best + 1,
        epochs_since_plateau=0 if better else state.epochs_since_plateau + 1,
    )
    after = ReduceOnPlateau(training.plateau_patience, training.plateau_factor).after(after)
    return EarlyStopping(training.early_stopping_patience).after(after)
