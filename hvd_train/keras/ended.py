"""What it means when Horovod ends the job under fit(): where this rank was, and which mistakes lead there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

from hvd_train.keras import hooks
from hvd_train.keras.basics import is_elastic
from hvd_train.keras.environment import stall_limit


class CollectiveEndedError(RuntimeError):
    """Horovod ended the job while this rank was in fit(), because some rank did not come to a collective."""


class _Place:
    """Where this rank is in fit(), for messages. `batch` is None at the end of an epoch."""

    rank = 0
    epoch = 0
    batch: int | None = 0

    def __str__(self) -> str:
        if self.batch is None:
            return f"at the end of epoch {self.epoch + 1}"
        return f"in step {self.batch + 1} of epoch {self.epoch + 1}"


place = _Place()


def _explained(fit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fit)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return fit(self, *args, **kwargs)
        except (tf.errors.UnknownError, tf.errors.InternalError, tf.errors.CancelledError) as error:
            if "Horovod has been shut down" not in str(error) or is_elastic():
                raise
            raise CollectiveEndedError(
                f"Rank {place.rank} was {place}, and Horovod ended the job: another rank failed or ended, or one did not come "
                f'to a collective within {stall_limit()}. What rank 0 wrote above under "Missing ranks" says which. The '
                "usual mistakes: the ranks have different numbers of steps, so that one ends its epoch while others wait in "
                "a step (give steps_per_epoch, or every rank as many rows); a collective or a callback with one is on "
                "some ranks alone."
            ) from None

    return wrapped


def _install() -> None:
    TensorFlowTrainer.fit = _explained(TensorFlowTrainer.fit)


hooks.installers.append(_install)
