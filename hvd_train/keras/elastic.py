"""Elastic training: ranks come and go, and training goes on from the last commit.

    state = hvd.elastic.KerasState(model, batch=0, epoch=0)

    @hvd.elastic.run
    def train(state):
        model.fit(..., epochs=num_epochs - state.epoch, callbacks=[hvd.elastic.CommitStateCallback(state), ...])

    train(state)

Start it with `horovodrun --gloo` and a host discovery script; docs/how-to/horovod-script.md has the command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf
from horovod.common.elastic import ObjectState, run_fn
from horovod.common.exceptions import HorovodInternalError
from horovod.tensorflow.functions import broadcast_object

from hvd_train.keras import hooks
from hvd_train.keras.basics import require_initialized
from hvd_train.keras.optimizers import hidden
from hvd_train.keras.variables import broadcast_variables, is_built, state_of


def run(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the training function: it is called again, with the state of the last commit, after ranks were lost or
    have joined. Its first argument is the state. Every rank must call it."""

    def train(state: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return func(state, *args, **kwargs)
        except (tf.errors.UnknownError, tf.errors.InternalError, tf.errors.CancelledError) as error:
            # A collective that lost a rank surfaces as an error of the op that ran it.
            if "Horovod" in str(error):
                raise HorovodInternalError(str(error)) from error
            raise

    def reset() -> None:
        _horovod.shutdown()
        _horovod.init()

    wrapped: Callable[..., Any] = run_fn(train, reset)
    return wrapped


class KerasState(ObjectState):  # type: ignore[misc]
    """The model, its optimizer and any values of one's own, kept in memory to go back to.

    Args:
        model: a built Keras model.
        optimizer: default: the compiled one.
        kwargs: further values to keep, as `epoch=0`; they become attributes.
    """

    def __init__(self, model: Any, optimizer: Any = None, **kwargs: Any) -> None:
        require_initialized("hvd.elastic.KerasState()")
        if not is_built(model):
            raise ValueError("Model must be built first: give it an Input, or call model.build(input_shape).")
        self.model = model
        self.optimizer = optimizer if optimizer is not None else getattr(model, "optimizer", None)
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(model.trainable_variables)
        self._save_model()
        super().__init__(bcast_object=broadcast_object, get_rank=_horovod.rank, **kwargs)

    def save(self) -> None:
        """Keep a copy of everything, in this process' memory. No other rank takes part."""
        self._save_model()
        super().save()

    def restore(self) -> None:
        """Go back to the copy."""
        for variable, value in zip(self._variables(), self._saved_model, strict=True):
            variable.assign(value)
        hidden.refresh(self._variables())
        self._clear_aggregation()
        super().restore()

    def sync(self) -> None:
        """Take the state of rank 0. Every rank must call it."""
        shared = state_of(self.model)
        known = {id(v) for v in shared}
        shared += [v for v in self._optimizer_variables() if id(v) not in known]
        broadcast_variables(shared, root_rank=0)
        for state in self._distributed_states():
            # A rank that joins must name its collectives as those that go on, which no longer ask.
            state.take(broadcast_object(state.number_or_next(), root_rank=0, name="hvd_train.keras.number"))
        self._clear_aggregation()
        self._save_model()
        super().sync()

    def _optimizer_variables(self) -> list[Any]:
        return [] if self.optimizer is None else list(self.optimizer.variables)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self._optimizer_variables()]

    def _distributed_states(self) -> list[Any]:
        return [o.hvd_state for o in hooks.distributed_in(self.optimizer)]

    def _save_model(self) -> None:
        self._saved_model = [v.numpy().copy() for v in self._variables()]

    def _clear_aggregation(self) -> None:
        for state in self._distributed_states():
            if state.aggregation is not None:
                state.aggregation.clear()


class CommitStateCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Commit `state` every `batches_per_commit` batches and at the end of each epoch."""

    def __init__(self, state: Any, batches_per_commit: int = 1) -> None:
        super().__init__()
        self.state = state
        self.batches_per_commit = batches_per_commit
        self.batches_remaining = batches_per_commit

    def on_train_begin(self, logs: Any = None) -> None:
        self.batches_remaining = self.batches_per_commit  # alike on the ranks that stayed and that joined

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches_remaining -= 1
        if self.batches_remaining == 0:
            self.commit()
            self.batches_remaining = self.batches_per_commit

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.commit()

    def commit(self) -> None:
        """Keep the state, and look whether hosts have come or gone."""
        self.state.commit()


class UpdateBatchStateCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Keep `state.batch` at the current batch; 0 between epochs.

    The first epoch after a reset is shortened by the batches already done, if the number of steps is known.
    """

    hvd_runs_first = True

    def __init__(self, state: Any) -> None:
        super().__init__()
        hooks.install()
        self.state = state
        self._done_before = 0
        self._cut_short = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._done_before = self.state.batch

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.state.batch = self._done_before + batch
        steps = self.params.get("steps")
        if self._done_before and steps and batch + 1 >= steps - self._done_before:
            self.model.stop_training = self._cut_short = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._cut_short:  # the epoch was over, not the training; EarlyStopping comes later and can still end it
            self.model.stop_training = self._cut_short = False
        self.state.batch = self._done_before = 0


class UpdateEpochStateCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Keep `state.epoch` at the number of epochs done, over all resets. fit() itself counts from 0 each time."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state
        self.initial_epoch = state.epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self.initial_epoch = self.state.epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.state.epoch = self.initial_epoch + epoch + 1
