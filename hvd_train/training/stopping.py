"""What follows from an epoch's metrics: is it the best, does the rate fall, does training end. Pure."""

from __future__ import annotations

from dataclasses import replace

from hvd_train.config import TrainingConfig
from hvd_train.runs import Progress

# The least improvement of the validation loss that counts, as a share of it.
MIN_IMPROVEMENT = 1e-5


def decide(
    progress: Progress, row: dict[str, float], training: TrainingConfig, *, loss_offset: float = 0.0
) -> Progress:
    """The progress after an epoch whose metrics are `row`. Pure: the root calls it and the others receive the result.

    `loss_offset` is what the labels' unit adds to a loss (gaussian): no share of that counts as an improvement.
    """
    loss = row["val_loss"]
    better = progress.best_loss is None or loss < progress.best_loss - MIN_IMPROVEMENT * abs(
        progress.best_loss - loss_offset
    )
    after = replace(
        progress,
        epoch=progress.epoch + 1,
        step=0,
        losses=[],
        num_steps=0,
        history=[*progress.history, row],
        best_loss=loss if better else progress.best_loss,
        best_epoch=progress.epoch + 1 if better else progress.best_epoch,
        epochs_since_best=0 if better else progress.epochs_since_best + 1,
        epochs_since_plateau=0 if better else progress.epochs_since_plateau + 1,
    )
    if training.plateau_patience and after.epochs_since_plateau >= training.plateau_patience:
        after.plateau_factor *= training.plateau_factor
        after.epochs_since_plateau = 0
    if training.early_stopping_patience and after.epochs_since_best >= training.early_stopping_patience:
        after.stopped_early = True
    return after
