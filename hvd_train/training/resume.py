"""Where a run begins: with fresh weights, or with the checkpoint of the run that it resumes."""

from __future__ import annotations

from dataclasses import replace

from hvd_train.config import toml
from hvd_train.distributed import World
from hvd_train.errors import CheckpointError
from hvd_train.models import part_from_root
from hvd_train.runs import Checkpoint, RunDir, TrainingState, checkpoint
from hvd_train.training.experiment import Experiment
from hvd_train.training.loop import set_plateau_factor


def starting_state(experiment: Experiment, world: World, resume_from: RunDir | None) -> TrainingState:
    """The state to start from; the variables are then those of the root on every rank. All ranks; only the root reads.

    Raises:
        CheckpointError: alike on every rank, where the checkpoint cannot be loaded or does not fit this run.
    """
    state = world.together(lambda: _restored(experiment, resume_from) if resume_from else TrainingState(), on="root")
    assert state is not None
    world.broadcast_variables(experiment.variables)
    if not experiment.workers:  # they have numbers of their own
        part_from_root(experiment.model, world.rank)
    set_plateau_factor(experiment.trained.optimizer, state.plateau_factor)
    return state


def _restored(experiment: Experiment, run_dir: RunDir) -> TrainingState:
    last = checkpoint.load(run_dir.last)
    if last.data_checksum != experiment.dataset.checksum:
        raise CheckpointError(
            f"{last.path} was trained on other data (its checksum is {last.data_checksum[:12]}, this data's is "
            f"{experiment.dataset.checksum[:12]}). Resume with the same --data and split, or start a new run."
        )
    require_same_monitor(last, experiment.config.training.monitor)
    best = checkpoint.load(run_dir.best) if last.state.best_epoch else None
    require_resumable(last, best, num_steps=experiment.plan.num_steps)
    checkpoint.restore(last, experiment.variables)
    return replace(last.state, sessions=last.state.sessions + 1)


def require_same_monitor(last: Checkpoint, monitor: str) -> None:
    """CheckpointError where the best epoch so far was chosen by another metric: its weights alone are kept."""
    before = toml.loads(last.config, source=str(last.path)).training.monitor
    if last.state.best_epoch and monitor != before:
        raise CheckpointError(
            f"{last.path}: the best epoch of this run was chosen by {before}, and --monitor {monitor} might choose an epoch "
            f"whose weights are gone. Resume without --monitor, or start a new run."
        )


def require_resumable(last: Checkpoint, best: Checkpoint | None, *, num_steps: int) -> None:
    """CheckpointError unless a run whose epochs have `num_steps` steps can continue from `last`."""
    state = last.state
    if state.step and state.num_steps != num_steps:
        raise CheckpointError(
            f"{last.path} is from the middle of an epoch of {state.num_steps} steps, and an epoch of this run has {num_steps}. "
            f"Resume with the same global batch (with --local-batch-size: at the same number of ranks), or start a new run."
        )
    if best and best.state.best_epoch < state.best_epoch:
        raise CheckpointError(
            f"{best.path} is from epoch {best.state.best_epoch}, but by {last.path.name} the best epoch was "
            f"{state.best_epoch}: the two files are from different moments. Copy both from the run, or start a new run."
        )
