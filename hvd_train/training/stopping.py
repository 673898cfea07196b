"""Early stopping, reduce-on-plateau and the best epoch, from the monitored metric of each epoch. Pure functions.

The root calls `after_epoch` and broadcasts the result, so all ranks stop after the same epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hvd_train.config import TrainingConfig
from hvd_train.runs import TrainingState

# The smallest improvement of the monitored metric that counts, as a share of its value.
MIN_IMPROVEMENT = 1e-5


@dataclass(frozen=True)
class EarlyStopping:
    """Training ends after `patience` epochs without a better monitored metric; 0: never."""

    patience: float

    def after(self, state: TrainingState) -> TrainingState:
        stop = bool(self.patience) and state.epochs_since_best >= self.patience
        return replace(state, stopped_early=True) if stop else state


@dataclass(frozen=True)
class ReduceOnPlateau:
    """The learning rate is multiplied by `factor` after `patience` epochs without a better monitored metric; 0: never."""

    patience: float
    factor: float

    def after(self, state: TrainingState) -> TrainingState:
        if not self.patience or state.epochs_since_plateau < self.patience:
            return state
        return replace(state, plateau_factor=state.plateau_factor * self.factor, epochs_since_plateau=0)


@dataclass(frozen=True)
class Monitor:
    """The metric that chooses the best epoch."""

    column: str = "val_loss"
    """Its name in a row of metrics.csv."""
    higher_is_better: bool = False
    offset: float = 0.0
    """What the unit of the labels adds to a loss (gaussian): no share of that counts as an improvement."""

    @property
    def title(self) -> str:
        """In sentences."""
        return {"val_loss": "validation loss", "loss": "training loss"}.get(self.column, self.column)

    def is_improvement(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best` by more than rounding."""
        if best is None:
            return True
        margin = MIN_IMPROVEMENT * abs(best - self.offset)
        return value > best + margin if self.higher_is_better else value < best - margin

    def best_so_far(self, state: TrainingState) -> float | None:
        """Its value at the best epoch; None before the first."""
        return state.history[state.best_epoch - 1][self.column] if state.best_epoch else None


VALIDATION_LOSS = Monitor()


def after_epoch(
    state: TrainingState, row: dict[str, float], training: TrainingConfig, *, monitor: Monitor = VALIDATION_LOSS
) -> TrainingState:
    """The state after an epoch whose metrics are `row`."""
    better = monitor.is_improvement(row[monitor.column], monitor.best_so_far(state))
    after = replace(
        state,
        epoch=state.epoch + 1,
        step=0,
        losses=[],
        num_steps=0,
        epoch_seconds=0.0,
        history=[*state.history, row],
        best_loss=row["val_loss"] if better else state.best_loss,
        best_epoch=state.epoch + 1 if better else state.best_epoch,
        epochs_since_best=0 if better else state.epochs_since_best + 1,
        epochs_since_plateau=0 if better else state.epochs_since_plateau + 1,
    )
    after = ReduceOnPlateau(training.plateau_patience, training.plateau_factor).after(after)
    return EarlyStopping(training.early_stopping_patience).after(after)
