"""Do the ranks train alike? Asked as fit() begins, before its first step, and at the end of each epoch.

hooks.py puts two callbacks around those of fit(). The first compares what each rank was given (which of our callbacks,
how many steps, is the optimizer distributed), before any of the others communicates. The last comes after every other
callback of the rank: it compares with which epoch and weights the first step begins, and after each epoch the learning
rate and whether training is to stop. What can be mended from the root's state is; the rest is one error on all ranks.

On one rank, in an elastic job, and for a model that does not train together with others, nothing is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as _horovod
import keras
import numpy as np

from hvd_train.keras import hooks, variables
from hvd_train.keras.basics import KerasVariable, is_elastic, key, native, say_once
from hvd_train.keras.ended import place
from hvd_train.keras.together import Together, TrainingMismatchError, by_value

SAVING = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)


class Begin(keras.callbacks.Callback):  # type: ignore[misc]
    """The first callback of fit(): what was this rank given?"""

    def __init__(self, fit: Together) -> None:
        super().__init__()
        self.fit = fit

    def on_train_begin(self, logs: Any = None) -> None:
        fit = self.fit
        place.rank = _horovod.rank()  # not known any more when Horovod has ended
        fit.choose_ranks()
        if fit.process_set is None:
            return
        everyone = fit.gather(
            {
                "callbacks": sorted(type(c).__name__ for c in fit.ours()),
                "distributed": fit.distributed,
                "built": variables.is_built(fit.model),
                "epochs": self.params.get("epochs"),
                "steps": self.params.get("steps"),
                "saves": any(isinstance(c, SAVING) for c in fit.callbacks.callbacks),
            },
            "fit.begin",
        )
        _require_same_callbacks([rank["callbacks"] for rank in everyone], fit.ranks())
        fit.require_alike(
            [rank["distributed"] for rank in everyone],
            "Whether the optimizer is distributed is",
            "Where it is not, the rank trains alone. A model that was copied, or opened by keras.models.load_model, has a "
            "plain optimizer: use hvd.DistributedOptimizer(model.optimizer) or hvd.load_model on every rank.",
        )
        if fit.distributed:
            fit.require_alike(
                [rank["steps"] for rank in everyone],
                "The number of steps of an epoch is",
                "Each step waits for all ranks, so a rank with more would wait for ever. Give every rank as many rows, or "
                "give fit() the smallest of these numbers as steps_per_epoch.",
            )
        fit.require_alike([r["epochs"] for r in everyone], "`epochs` of fit() is", "Give every rank the same number.")
        fit.all_built = all(rank["built"] for rank in everyone)
        fit.gathers = any(rank["saves"] for rank in everyone)
        if (callback := fit.broadcast()) is not None:
            callback.waits_for_build = not fit.all_built

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        place.epoch, place.batch = epoch, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        place.batch = batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        place.batch = None
        if self.fit.process_set is not None and self.fit.gathers:
            _gather_states(self.model)

    def on_train_end(self, logs: Any = None) -> None:
        if self.fit.process_set is not None:
            _gather_states(self.model)


class Agree(keras.callbacks.Callback):  # type: ignore[misc]
    """The last callback of fit(): does this rank go on as the others do?"""

    def __init__(self, fit: Together) -> None:
        super().__init__()
        self.fit = fit
        self._epoch = 0
        self._first = True

    def on_train_begin(self, logs: Any = None) -> None:
        fit = self.fit
        self._first = fit.process_set is not None
        self._first_broadcast = (callback := fit.broadcast()) is not None and not getattr(callback, "had_fit", False)
        if fit.process_set is None:
            return
        if callback is not None:
            callback.had_fit = True
        # A callback that restores a backup sets it, and fit() reads it next.
        mine = self.model._initial_epoch
        values = [None if v < 0 else int(v) for (v,) in fit.gather_row([-1 if mine is None else mine], "fit.epoch")]
        if len(set(values)) == 1:
            return
        if callback is None:
            raise TrainingMismatchError(
                f"The epoch to go on with is {by_value(values, fit.ranks())}: a callback has restored a backup on some "
                "ranks alone. Give it to every rank, or add BroadcastGlobalVariablesCallback to take the root's state."
            )
        self.model._initial_epoch = values[fit.ranks().index(callback.root_rank)]
        say_once(f"All ranks go on with epoch {self.model._initial_epoch or 0}, as rank {callback.root_rank} does.")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self._first:
            return
        self._first = False
        fit = self.fit
        digest = _digest(self._compared()) if fit.all_built else 0
        rows = fit.gather_row([self._epoch, digest], "fit.first")
        fit.require_alike(
            rows[:, 0].astype(int).tolist(), "The first epoch of fit() is", "Give every rank the same initial_epoch."
        )
        if (rows[:, 1] == rows[0, 1]).all():
            return
        callback = fit.broadcast()
        if callback is None:
            say_once(
                "The ranks' weights differ as training begins, and gradients are averaged as if they were alike. Add "
                "hvd.callbacks.BroadcastGlobalVariablesCallback(0) to the callbacks of every rank."
            )
        else:
            callback.broadcast_now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        fit = self.fit
        if fit.process_set is None:
            return
        optimizer = self.model.optimizer
        rate, updates = (
            (_rate_of(optimizer), float(getattr(optimizer, "iterations", 0))) if fit.distributed else (np.nan, 0.0)
        )
        rows = fit.gather_row([epoch, float(self.model.stop_training), rate, updates], "fit.epoch_end")
        fit.require_alike(rows[:, 0].astype(int).tolist(), "The epoch that ends is", "Give every rank as many epochs.")
        fit.require_alike(
            ["to stop" if stop else "to go on" for stop in rows[:, 1]],
            f"After epoch {epoch + 1} training is",
            "A callback such as EarlyStopping is on some ranks alone, or judges by one rank's own metrics. Give it to "
            "every rank, together with MetricAverageCallback.",
        )
        fit.require_alike(
            rows[:, 3].astype(int).tolist(),
            f"After epoch {epoch + 1} the optimizer's number of updates is",
            "A callback has loaded weights on some ranks alone. Load them on every rank, or between two calls of fit() with "
            "BroadcastGlobalVariablesCallback.",
        )
        if not np.isnan(rows[:, 2]).any():
            fit.require_alike(
                rows[:, 2].tolist(),
                f"After epoch {epoch + 1} the learning rate is",
                "A callback such as ReduceLROnPlateau or LearningRateScheduler is on some ranks alone, or judges by one "
                "rank's own metrics. Give it to every rank, together with MetricAverageCallback.",
            )

    def on_train_end(self, logs: Any = None) -> None:
        if self.fit.process_set is None or not self.fit.distributed:
            return
        # Rounded, since the last bits of an update may depend on a rank's kind of CPU.
        weights = (native(v).numpy() for v in self._trained())
        sizes = self.fit.gather_row([sum(float(np.abs(w.astype(np.float64)).sum()) for w in weights)], "fit.end")
        if not np.allclose(sizes, sizes[0], rtol=1e-4, atol=0, equal_nan=True):
            say_once(
                "The ranks' weights differ as training ends. A callback such as EarlyStopping(restore_best_weights=True) is "
                "on some ranks alone, or judges by one rank's own metrics: give it to every rank, with MetricAverageCallback."
            )

    def _compared(self) -> list[Any]:
        """What must be alike before the first step: all that is broadcast; later what the gradients were averaged for."""
        callback = self.fit.broadcast()
        if callback is not None and self._first_broadcast:
            return variables.state_of(self.model, excluded=callback.local_variables)
        return self._trained() if self.fit.distributed else []

    def _trained(self) -> list[Any]:
        """The weights whose gradients are averaged."""
        callback = self.fit.broadcast()
        local = set().union(*(o.hvd_state.local for o in hooks.distributed_in(self.model.optimizer)))
        local |= {key(v) for v in (callback.local_variables if callback is not None else ())}
        return [v for v in self.model.trainable_variables if key(v) not in local]


def _around(callbacks: keras.callbacks.CallbackList) -> tuple[Begin, Agree] | None:
    if not _horovod.is_initialized() or is_elastic() or _horovod.size() == 1:
        return None
    fit = Together(callbacks)
    return Begin(fit), Agree(fit)


hooks.around_fit.append(_around)


def _require_same_callbacks(names: Sequence[Sequence[str]], ranks: Sequence[int]) -> None:
    for name in sorted(set().union(*names)):
        having = [rank for rank, here in zip(ranks, names, strict=True) if name in here]
        if len(having) < len(ranks):
            lacking = [rank for rank in ranks if rank not in having]
            raise TrainingMismatchError(
                f"fit() has a {name} on ranks {having} and not on ranks {lacking}. It communicates, so all ranks would wait "
                "for each other for ever. Give it to every rank; only callbacks that write files may be the root's alone."
            )


def _gather_states(model: Any) -> None:
    for optimizer in hooks.distributed_in(model.optimizer):
        optimizer.hvd_gather_state()


def _rate_of(optimizer: Any) -> float:
    """The learning rate after this step; NaN where there is no number to compare."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    rate = getattr(optimizer, "_learning_rate", None)
    return float(rate.numpy()) if isinstance(rate, KerasVariable) else np.nan


def _digest(compared: Sequence[Any]) -> int:
    """52 bits of a hash of these variables' values."""
    found = hashlib.sha256()
    for variable in compared:
        found.update(np.ascontiguousarray(native(variable).numpy()).reshape(-1).view(np.uint8).data)
    return int.from_bytes(found.digest()[:8], "big") >> 12
