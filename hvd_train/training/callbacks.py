"""The `callbacks` of a run: Observers, which the root calls, and Keras callbacks, which every rank calls.

A Keras callback sees on every rank the same `logs` at the end of an epoch: the losses over all ranks, and the validation
metrics as `val_...`. So one that decides by these decides alike on all ranks, whatever their number. At the end of a
batch the `logs` are those of its own rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from hvd_train.distributed import World
from hvd_train.errors import ConfigError
from hvd_train.events import Observer


def part_callbacks(callbacks: Sequence[Any], world: World) -> tuple[list[Observer], list[Any]]:
    """The Observers and the Keras callbacks among these. All ranks.

    Raises:
        ConfigError: alike on every rank, where one has something else, or other Keras callbacks than the root.
    """
    parted = world.together(lambda: _part(callbacks))
    assert parted is not None
    kinds = world.allgather([type(callback).__qualname__ for callback in parted[1]])
    for rank, others in enumerate(kinds):
        if others != kinds[0]:
            raise ConfigError(
                f"The Keras callbacks of rank {rank} are {others}, those of rank 0 are {kinds[0]}. Give every rank the "
                f"same ones. A callback that writes files can ask `world.is_root` itself; an Observer runs on the root alone."
            )
    return parted


def _part(callbacks: Sequence[Any]) -> tuple[list[Observer], list[Any]]:
    for callback in callbacks:
        if not isinstance(callback, Observer | keras.callbacks.Callback):
            made = ": it is a class, give an object of it" if isinstance(callback, type) else ""
            raise ConfigError(
                f"callbacks = [{callback!r}] is not possible{made}. "
                f"A callback is an hvd_train Observer or a keras.callbacks.Callback."
            )
    observers = [callback for callback in callbacks if isinstance(callback, Observer)]
    return observers, [callback for callback in callbacks if not isinstance(callback, Observer)]


class AgreedStop(keras.callbacks.Callback):  # type: ignore[misc]
    """Makes `model.stop_training` of a user's callback safe: all ranks stop after the same epoch. Comes last.

    A rank that stopped alone, or in the middle of an epoch, would leave the others waiting in an allreduce. So a request
    is kept until the epoch ends, and one rank's request holds for all. Each epoch costs one small allgather.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world, self._requested = world, False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.stop_training:
            self._requested, self.model.stop_training = True, False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        requested = self._requested or self.model.stop_training
        self._requested = False
        self.model.stop_training = any(self._world.allgather(bool(requested)))
