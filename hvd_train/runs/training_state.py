"""How far a run has come: the part of a checkpoint that is not arrays."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TrainingState:
    """Epochs and steps done, and the state of early stopping and of the schedule. The same on all ranks.

    A checkpoint holds its fields by their names, so a renamed field is another format.
    """

    epoch: int = 0
    """Complete epochs."""
    step: int = 0
    """Steps done in the epoch after those."""
    losses: list[list[float]] = field(default_factory=list)
    """The sums from which Keras computes the training loss over those steps, one list for each rank."""
    num_steps: int = 0
    """Steps of that epoch; 0 where none is done."""
    best_loss: float | None = None
    """The validation loss of the best epoch."""
    best_epoch: int = 0
    epochs_since_best: int = 0
    epochs_since_plateau: int = 0
    plateau_factor: float = 1.0
    """What the learning rate of the schedule is multiplied by."""
    stopped_early: bool = False
    seconds: float = 0.0
    """Training time so far, over all sessions of the run."""
    epoch_seconds: float = 0.0
    """What of it went to the steps of the epoch that is not complete."""
    wall_seconds: float = 0.0
    """From the start of each session to its last save, over all sessions."""
    sessions: int = 1
    """Processes that trained this run one after another, this one included."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row for each epoch, as in metrics.csv."""
