"""`backward_passes_per_step`: gradients of several passes are summed on each rank and sent once.

Two phases, as in Horovod, so that they can be called apart: `aggregate` takes one pass's gradients and, at every N-th,
reduces the sums; `when_complete` runs the update only then. The sums are plain tf.Variables outside the optimizer's own:
they are not saved, and a model trained with aggregation loads where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_train.keras.basics import key, native


class GradientAggregation:
    """Sums of gradients and the count of passes in them, for one optimizer. Nothing is created before the first pass."""

    def __init__(self, passes: int, *, average: bool) -> None:
        if passes < 1:
            raise ValueError(f"backward_passes_per_step must be > 0, not {passes}.")
        self.passes = passes
        self.average = average
        self.counter: tf.Variable | None = None
        self._sums: dict[int, tf.Variable] = {}

    def aggregate(
        self, gradients: Sequence[Any], variables: Sequence[Any], reduce: Callable[[list[Any]], list[Any]]
    ) -> list[Any]:
        """Add one pass. Returns the reduced sums at every N-th call, the sums so far at the others."""
        present = [i for i, g in enumerate(gradients) if g is not None]
        sums = self._sums_of(variables, present, gradients)
        for i, total in zip(present, sums, strict=True):
            if isinstance(gradients[i], tf.IndexedSlices):
                total.scatter_add(gradients[i])
            else:
                total.assign_add(gradients[i])
        assert self.counter is not None
        self.counter.assign_add(1)

        def complete() -> list[Any]:
            scale = 1.0 / self.passes if self.average else 1.0
            full: list[Any] = [None] * len(gradients)
            for i, total in zip(present, sums, strict=True):
                full[i] = total * tf.cast(scale, total.dtype)
            reduced = reduce(full)
            with tf.control_dependencies([reduced[i] for i in present]):
                self.clear()
            return [tf.identity(reduced[i]) for i in present]

        def partial() -> list[Any]:
            return [total.read_value() for total in sums]

        outcome = tf.cond(tf.equal(self.counter, self.passes), complete, partial)
        result = list(gradients)
        for i, tensor in zip(present, outcome, strict=True):
            result[i] = tensor
        return result

    def when_complete(self, update: Callable[[], Any], otherwise: Callable[[], Any]) -> None:
        """Run `update` if the last `aggregate` completed a step, else `otherwise`."""
        if self.counter is None:  # gradients that were reduced elsewhere
            update()
            return

        def run(branch: Callable[[], Any]) -> Callable[[], tf.Tensor]:
            def outcome() -> tf.Tensor:
                branch()
                return tf.constant(0)

            return outcome

        tf.cond(tf.equal(self.counter, 0), run(update), run(otherwise))

    def clear(self) -> None:
        """Forget the passes so far: after a step, and after an elastic job went back to its last commit."""
        if self.counter is not None:
            self.counter.assign(0)
        for total in self._sums.values():
            total.assign(tf.zeros_like(total))

    def _sums_of(self, variables: Sequence[Any], present: Sequence[int], gradients: Sequence[Any]) -> list[tf.Variable]:
        with tf.init_scope():  # created once, outside the function that is being traced
            if self.counter is None:
                self.counter = tf.Variable(0, trainable=False, dtype=tf.int32, name="aggregation_counter")
            for i in present:
                if key(variables[i]) not in self._sums:
                    zeros = tf.zeros(native(variables[i]).shape, gradients[i].dtype)
                    self._sums[key(variables[i])] = tf.Variable(zeros, trainable=False, name="aggregated_gradient")
        return [self._sums[key(variables[i])] for i in present]
