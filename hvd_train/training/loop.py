"""The training loop: the Keras callback that drives a run, and `fit`, which runs the epochs.

After each epoch it validates, decides on early stopping and the learning rate, and saves checkpoints. Decisions are made
by the root and broadcast, so all ranks stop after the same epoch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from hvd_train.config import TrainingConfig
from hvd_train.data import own_shards
from hvd_train.distributed import World
from hvd_train.errors import HvdTrainError
from hvd_train.events import Observer, Watch
from hvd_train.models import TrainLoss
from hvd_train.processes import early_end
from hvd_train.runs import TrainingState
from hvd_train.training.callbacks import AgreedStop
from hvd_train.training.early_end import EarlyEnding
from hvd_train.training.equal_weights import require_equal_weights
from hvd_train.training.experiment import Experiment
from hvd_train.training.input_pipeline import TrainRows, epochs_dataset
from hvd_train.training.local_steps.workers import VirtualWorkers
from hvd_train.training.on_device.resident_rows import device_for, gathering_on
from hvd_train.training.stopping import VALIDATION_LOSS, Monitor, after_epoch
from hvd_train.training.weight_averaging import WeightAverage

# Seconds between two updates of the progress bar.
SHOW_EVERY_S = 0.2
# Seconds between two reports of the learning rate, which is computed for each.
RATE_EVERY_S = 1.0


@dataclass(eq=False)
class TrainingLoop(keras.callbacks.Callback):  # type: ignore[misc]
    """Runs around the steps of `model.fit`. All ranks; `save(last, best)` writes checkpoints and is called by all."""

    world: World
    training: TrainingConfig
    state: TrainingState
    num_steps: int
    """Steps of an epoch."""
    global_batch_size: int
    validate: Callable[[], dict[str, float]]
    save: Callable[[bool, bool], None]
    observer: Observer
    watch: Watch
    average: WeightAverage | None = None
    """Weights that are validated and kept instead of the trained ones."""
    steps_per_update: int = 1
    """Checkpoints are written after complete updates: the gradients summed so far are different on each rank."""
    workers: VirtualWorkers | None = None
    """Those of this rank under local steps; a batch of the model is then that of one worker."""
    loss: TrainLoss = field(default_factory=lambda: TrainLoss(None))
    """Converts a training loss to the units of the validation loss."""
    monitor: Monitor = VALIDATION_LOSS
    """Chooses the best epoch."""
    flush: Callable[[], None] = lambda: None
    """Waits until what was saved is on disk. All ranks."""
    first_steps_at: float | None = None
    """When, by the monotonic clock, the first execution of steps was done."""

    def __post_init__(self) -> None:
        super().__init__()
        self.first_step = self.state.step  # done before, by an earlier session of this epoch
        self.samples_per_s = math.nan
        self._shown = self._rate_shown = 0.0
        self._validation_s = math.nan  # of the last one
        self.step = self._saved_step = self.first_step

    @property
    def place(self) -> str:
        """Where training is, after the steps that are done, in words."""
        epoch = self.state.epoch
        return (
            f"after step {self.step} of {self.num_steps} in epoch {epoch + 1}" if self.step else f"after epoch {epoch}"
        )

    @property
    def is_savable(self) -> bool:
        """Whether a checkpoint within the epoch is possible after the steps that are done."""
        if self.workers and not self.workers.is_between_turns:
            return False
        return self.step % self.steps_per_update == 0 and self.step < self.num_steps

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.step = self._saved_step = self.first_step = self.state.step
        self._save_after(self.step)
        self._restore_losses(self.state.losses)
        self._batches = 0
        if self.workers:
            self.workers.begin_epoch()
        self._started = self._counted = time.monotonic()
        self._timed_from: tuple[float, int] | None = None
        self.watch.phase(f"step {self.step + 1} of epoch {epoch + 1}", waits_for_others=True)
        if self.world.is_root:
            self.observer.on_epoch_begin(epoch + 1, self.training.num_epochs, self.num_steps)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        where = f"step {self.step + 1} of epoch {self.state.epoch + 1}"
        self.watch.phase(where, waits_for_others=True)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.monotonic()
        # `batch` counts from the first step of this fit() and, at the end of an epoch, past the last one.
        self.step = min(self.first_step + self._steps_of(batch + 1), self.num_steps)
        self.watch.phase(f"after step {self.step} of epoch {self.state.epoch + 1}", waits_for_others=False)
        self.watch.progress(self.state.epoch * self.num_steps + self.step)
        self._measure_rate(now)
        if self.step >= self._save_from and self.is_savable:
            self._save_within_epoch()
        if self.world.is_root and now - self._shown >= SHOW_EVERY_S:
            self._shown = now
            self.observer.on_steps(
                self.step, self.num_steps, self.samples_per_s, self.loss.in_units(float(logs["loss"]))
            )
            if now - self._rate_shown >= RATE_EVERY_S:
                self._rate_shown = now
                self.observer.on_learning_rate(self.step, self._learning_rate())

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _steps_of(self, batches: int) -> int:
        """The steps of this epoch that so many batches of the model are. All ranks; under local steps they may exchange."""
        if not self.workers:
            return batches
        self.workers.executed(batches - self._batches)
        self._batches = batches
        return batches // len(self.workers.plan.own)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        validation_began = time.monotonic()
        early_end.let_stops_wait_for(self._validation_s)  # a stop in a validation that is short loses no epoch
        if self.workers:
            self.workers.end_epoch()
        steps_s = time.monotonic() - self._started
        if math.isnan(self.samples_per_s):  # one execution was the whole epoch
            self.samples_per_s = (self.num_steps - self.first_step) * self.global_batch_size / steps_s
        self.watch.phase(f"validation after epoch {epoch + 1}", waits_for_others=True)
        if self.average:
            self.average.epoch_ended(epoch)
        with self.average.in_place() if self.average else contextlib.nullcontext():
            before, row = self.state, self._validate(epoch, logs)
            best = self.state.best_epoch == self.state.epoch
            self._validation_s = time.monotonic() - validation_began
            early_end.let_stops_wait()
            if best and self.average:  # averaged weights are kept, and training goes on from its own
                self.save(False, True)
        self.save(True, best and not self.average)
        if self.world.is_root:
            self.observer.on_epoch_end(row, best=best)
        if logs is not None:  # what the user's callbacks see: equal on all ranks
            logs.update({name: value for name, value in row.items() if name not in ("samples_per_s", "seconds")})
        self._follow_decisions(before)
        self.samples_per_s = math.nan

    def _measure_rate(self, now: float) -> None:
        """The first execution of an epoch may include the tracing of the graph; the rate is measured after it."""
        if self._timed_from is None:
            self._timed_from = (now, self.step)
            self.first_steps_at = self.first_steps_at or now
        else:
            since, step = self._timed_from
            self.samples_per_s = (self.step - step) * self.global_batch_size / (now - since)

    def _save_after(self, step: int) -> None:
        """Save in this epoch from the next multiple of `checkpoint_every_steps` on."""
        every = self.training.checkpoint_every_steps
        self._save_from = (step // every + 1) * every if every else math.inf

    def save_to_continue(self) -> None:
        """Save what is done, between two steps, before training ends early. All ranks. Returns when it is on disk."""
        if self.step != self._saved_step:
            self._save_within_epoch()
        self.flush()

    def _save_within_epoch(self) -> None:
        self._save_after(self.step)
        self._saved_step = self.step
        self._count_time()
        self.state.step, self.state.num_steps = self.step, self.num_steps
        self.state.losses = self.world.allgather([float(v) for v in self.model.metrics_variables])
        self.save(True, False)

    def _count_time(self) -> None:
        """Add what has passed since the last call to the time of the run and of the epoch, which a checkpoint keeps."""
        now = time.monotonic()
        self.state.seconds += now - self._counted
        self.state.epoch_seconds += now - self._counted
        self._counted = now

    def _restore_losses(self, losses: list[list[float]]) -> None:
        """Continue the sums that the training loss of an epoch is computed from, where a checkpoint cut the epoch."""
        if not losses:
            return
        world = self.world
        own = losses[world.rank] if len(losses) == world.size else (np.sum(losses, axis=0) / world.size).tolist()
        for variable, value in zip(self.model.metrics_variables, own, strict=True):
            variable.assign(value)

    def _validate(self, epoch: int, logs: Any) -> dict[str, float]:
        """The row of metrics of the epoch. Afterwards `state` is that after the epoch. All ranks."""
        world = self.world
        train_loss = float(world.allreduce_sum(np.array([self.loss.in_units(float(logs["loss"]))]))[0]) / world.size
        validation = self.validate()
        if not math.isfinite(train_loss) or not math.isfinite(validation["loss"]):
            raise HvdTrainError(
                f"The loss is not a number after epoch {epoch + 1} (train {train_loss}, validation {validation['loss']}). "
                f"Lower --base-learning-rate, or limit the gradient with --clip-norm 1."
            )
        figures = {"loss": train_loss, **{f"val_{name}": value for name, value in validation.items()}}
        if not math.isfinite(chooses := figures[self.monitor.column]):
            raise HvdTrainError(
                f"{self.monitor.column} is {chooses} after epoch {epoch + 1}, so it cannot choose the best epoch. "
                f"Choose another --monitor, such as val_loss."
            )
        self._count_time()
        row = {
            "epoch": epoch + 1,
            **figures,
            "learning_rate": self._learning_rate(),
            "samples_per_s": self.samples_per_s,
            "seconds": self.state.epoch_seconds,
        }
        self.state = world.broadcast(after_epoch(self.state, row, self.training, monitor=self.monitor))
        if self.training.check_equal_weights:
            require_equal_weights(world, self.model.weights)
        return row

    def _follow_decisions(self, before: TrainingState) -> None:
        """Reduce the learning rate and stop, where the state after the epoch says so."""
        after = self.state
        if after.plateau_factor != before.plateau_factor:
            set_plateau_factor(self.model.optimizer, after.plateau_factor)
            if self.world.is_root:
                self.observer.on_message(
                    f"No better {self.monitor.title} for {self.training.plateau_patience} epochs: the learning rate is multiplied by {self.training.plateau_factor:g}."
                )
        if after.stopped_early:
            self.model.stop_training = True
            if self.world.is_root:
                self.observer.on_message(
                    f"No better {self.monitor.title} for {self.training.early_stopping_patience} epochs: training ends; the best epoch was {after.best_epoch}."
                )


def set_plateau_factor(optimizer: Any, factor: float) -> None:
    """Scale the schedule of the optimizer. All ranks, with the same factor."""
    optimizer._learning_rate.factor.assign(factor)


def fit(experiment: Experiment, loop: TrainingLoop, keras_callbacks: list[Any], early: EarlyEnding) -> None:
    """Run the epochs that are left. All ranks; each step ends with one grouped allreduce."""
    config, world, num_steps = experiment.config, loop.world, experiment.plan.num_steps
    shards = own_shards(world.rank, world.size, experiment.dataset.num_virtual_shards)
    rows = experiment.prepared(experiment.load("train", world))
    workers = experiment.workers.plan if experiment.workers else None
    batches_a_step = len(workers.own) if workers else 1

    def order_from(first_step: int) -> np.ndarray:
        order = experiment.plan.order(loop.state.epoch, shards, rows.shard_starts, labels=rows.labels)[first_step:]
        return workers.order(order) if workers else order

    train = TrainRows(
        experiment.dataset,
        config.sampling,
        rows,
        experiment.targets,
        seed=config.training.seed,
        epoch=lambda: loop.state.epoch,
    )
    callbacks = [loop, *keras_callbacks, *([AgreedStop(world)] if keras_callbacks else []), early]
    settings: dict[str, Any] = {"verbose": 0, "shuffle": False, "callbacks": callbacks}
    stopped, trained = loop.state.stopped_early, experiment.trained
    device = device_for(world, train, has_workers=workers is not None)

    def epochs(first_step: int) -> Any:
        steps = (num_steps - first_step) * batches_a_step
        return epochs_dataset(train, lambda: order_from(first_step), steps, positions_only=device is not None)

    with gathering_on(device, trained, train):
        if first_step := loop.state.step:  # a checkpoint from the middle of an epoch: first the rest of that one
            epoch = loop.state.epoch
            trained.fit(epochs(first_step), epochs=epoch + 1, initial_epoch=epoch, **settings)
            stopped = trained.stop_training
        if loop.state.epoch < config.training.num_epochs and not stopped:
            trained.fit(epochs(0), epochs=config.training.num_epochs, initial_epoch=loop.state.epoch, **settings)
