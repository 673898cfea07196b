"""What happens around the steps: progress, validation, early stopping, reduce-on-plateau, checkpoints.

One Keras callback drives it. Decisions are the root's and are broadcast, so all ranks stop at the same step.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from hvd_train.config import TrainingConfig
from hvd_train.distributed import World
from hvd_train.errors import HvdTrainError
from hvd_train.events import Observer, Watch
from hvd_train.models import TrainLoss
from hvd_train.runs import Progress
from hvd_train.training.stopping import decide
from hvd_train.training.weight_averaging import WeightAverage

# Seconds between two looks at the progress bar.
SHOW_EVERY_S = 0.2


def weights_digest(variables: list[Any]) -> str:
    """A hash of these variables' bytes."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def require_equal_weights(world: World, variables: list[Any]) -> None:
    """HvdTrainError naming the ranks whose weights differ from the root's by a single bit. All ranks."""
    digests = world.allgather(weights_digest(variables))
    drifted = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if drifted:
        raise HvdTrainError(
            f"The weights of rank{'s' if len(drifted) > 1 else ''} {', '.join(map(str, drifted))} differ from rank 0's: gradients "
            f"were not averaged alike. This is a defect; please report it with the run's config.toml and report.json."
        )


@dataclass
class Loop:
    """What the callback needs of a run. `save(last, best)` writes checkpoints; all ranks call it."""

    world: World
    training: TrainingConfig
    progress: Progress
    num_steps: int
    global_batch_size: int
    validate: Callable[[], dict[str, float]]
    save: Callable[[bool, bool], None]
    observer: Observer
    watch: Watch
    first_steps_at: float | None = None
    """When, by the monotonic clock, the first execution of steps was done."""
    average: WeightAverage | None = None
    """Weights that are validated and kept instead of the trained ones."""
    passes: int = 1
    """Steps of one update. A checkpoint comes after a whole one: the gradients summed so far are each rank's own."""
    loss: TrainLoss = field(default_factory=lambda: TrainLoss(None))
    """Says what a training loss is in the units of the validation loss."""


class EpochLoop(keras.callbacks.Callback):  # type: ignore[misc]
    """All ranks. `first_step` steps of the first epoch were done before (a resumed run)."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.first_step = loop.progress.step
        self.samples_per_s = math.nan
        self._shown = self._saved_at = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        loop = self.loop
        self.first_step = loop.progress.step
        self._step = self.first_step
        self._save_after(self._step)
        self._take_losses(loop.progress.losses)
        self._started = time.monotonic()
        self._timed_from: tuple[float, int] | None = None
        loop.watch.phase(f"step {self._step + 1} of epoch {epoch + 1}", waits_for_others=True)
        if loop.world.is_root:
            loop.observer.on_epoch_begin(epoch + 1, loop.training.num_epochs, loop.num_steps)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        where = f"step {self._step + 1} of epoch {self.loop.progress.epoch + 1}"
        self.loop.watch.phase(where, waits_for_others=True)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loop = self.loop
        now = time.monotonic()
        # `batch` counts from this fit's first step and, at an epoch's end, past the last one.
        self._step = min(self.first_step + batch + 1, loop.num_steps)
        loop.watch.phase(f"after step {self._step} of epoch {loop.progress.epoch + 1}", waits_for_others=False)
        loop.watch.progress(loop.progress.epoch * loop.num_steps + self._step)
        if self._timed_from is None:
            # The first execution of a run holds the tracing of the graph; the rate is measured after it.
            self._timed_from = (now, self._step)
            loop.first_steps_at = loop.first_steps_at or now
        else:
            self.samples_per_s = (
                (self._step - self._timed_from[1]) * loop.global_batch_size / (now - self._timed_from[0])
            )
        if self._step >= self._save_from and self._step % loop.passes == 0 and self._step < loop.num_steps:
            self._save_after(self._step)
            loop.progress.step, loop.progress.num_steps = self._step, loop.num_steps
            loop.progress.losses = loop.world.allgather([float(v) for v in self.model.metrics_variables])
            loop.save(True, False)
        if loop.world.is_root and now - self._shown >= SHOW_EVERY_S:
            self._shown = now
            loop.observer.on_steps(
                self._step, loop.num_steps, self.samples_per_s, loop.loss.in_units(float(logs["loss"]))
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loop, world = self.loop, self.loop.world
        steps_s = time.monotonic() - self._started
        if math.isnan(self.samples_per_s):  # one execution was the whole epoch
            self.samples_per_s = (loop.num_steps - self.first_step) * loop.global_batch_size / steps_s
        loop.watch.phase(f"validation after epoch {epoch + 1}", waits_for_others=True)
        if loop.average:
            loop.average.epoch_ended(epoch)
        with loop.average.in_place() if loop.average else contextlib.nullcontext():
            before, row = loop.progress, self._validated(epoch, logs)
            after = loop.progress
            best = after.best_epoch == after.epoch
            if best and loop.average:  # averaged weights are kept, and training goes on from its own
                loop.save(False, True)
        loop.save(True, best and not loop.average)
        if world.is_root:
            loop.observer.on_epoch_end(row, best=best)
        if logs is not None:  # what the user's callbacks see: equal on all ranks
            logs.update({name: value for name, value in row.items() if name not in ("samples_per_s", "seconds")})
        self._apply(before, after)
        self.samples_per_s = math.nan

    def _save_after(self, step: int) -> None:
        """Save in this epoch from the next multiple of `checkpoint_every_steps` on."""
        every = self.loop.training.checkpoint_every_steps
        self._save_from = (step // every + 1) * every if every else math.inf

    def _take_losses(self, losses: list[list[float]]) -> None:
        """Go on with the sums that the training loss of an epoch is computed from, where an earlier part of it was cut."""
        if not losses:
            return
        world = self.loop.world
        own = losses[world.rank] if len(losses) == world.size else (np.sum(losses, axis=0) / world.size).tolist()
        for variable, value in zip(self.model.metrics_variables, own, strict=True):
            variable.assign(value)

    def _validated(self, epoch: int, logs: Any) -> dict[str, float]:
        """The epoch's row of figures; the loop's progress is then that after the epoch. All ranks."""
        loop, world = self.loop, self.loop.world
        train_loss = float(world.allreduce_sum(np.array([loop.loss.in_units(float(logs["loss"]))]))[0]) / world.size
        validation = loop.validate()
        if not math.isfinite(train_loss) or not math.isfinite(validation["loss"]):
            raise HvdTrainError(
                f"The loss is not a number after epoch {epoch + 1} (train {train_loss}, validation {validation['loss']}). "
                f"Lower --base-learning-rate, or limit the gradient with --clip-norm 1."
            )
        row = {
            "epoch": epoch + 1,
            "loss": train_loss,
            **{f"val_{name}": value for name, value in validation.items()},
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "samples_per_s": self.samples_per_s,
            "seconds": time.monotonic() - self._started,
        }
        before = loop.progress
        after = world.broadcast(decide(before, row, loop.training, loss_offset=loop.loss.offset))
        after.seconds = before.seconds + row["seconds"]
        loop.progress = after
        if loop.training.check_equal_weights:
            require_equal_weights(world, self.model.weights)
        return row

    def _apply(self, before: Progress, after: Progress) -> None:
        loop = self.loop
        if after.plateau_factor != before.plateau_factor:
            set_plateau_factor(self.model.optimizer, after.plateau_factor)
            if loop.world.is_root:
                loop.observer.on_message(
                    f"No better validation loss for {loop.training.plateau_patience} epochs: the rate falls to {after.plateau_factor:g} of itself."
                )
        if after.stopped_early:
            self.model.stop_training = True
            if loop.world.is_root:
                loop.observer.on_message(
                    f"No better validation loss for {loop.training.early_stopping_patience} epochs: training ends; the best epoch was {after.best_epoch}."
                )


def set_plateau_factor(optimizer: Any, factor: float) -> None:
    """Scale the optimizer's schedule. All ranks, with the same factor."""
    optimizer._learning_rate.factor.assign(factor)
