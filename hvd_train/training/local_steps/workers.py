"""The virtual workers of a rank: whose weights the model has, and when all of them are averaged.

Each worker takes its local steps from the common weights, with moments of its own. Then the changes of the weights are
averaged over all workers (local SGD; Lin et al. 2020, arXiv 1808.07217). At the end of an epoch the moments are averaged as
well, so an epoch ends with one common state. docs/how-to/slow-links.md has the effect of these choices.

A rank computes its workers one after the other with one model. Where it has one worker alone, nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_train.distributed import World
from hvd_train.models import generator_states, part_from_root
from hvd_train.training.local_steps.plan import WorkerPlan


class VirtualWorkers:
    """Switches `model` between the workers of this rank, and averages. Between two epochs the model has the common state."""

    def __init__(self, plan: WorkerPlan, world: World, model: Any, part: Any, *, states: Sequence[Any] = ()) -> None:
        """`model` is compiled and built. `part` is the variable that tells dropout which worker's rows it has; `states` are
        other variables that a step changes and that are averaged with the weights. No collective."""
        self.plan, self._world, self._model, self._part = plan, world, model, part
        optimizer = model.optimizer
        self._weights = Flat([*model.trainable_variables, *states])
        self._moments = Flat([v for v in optimizer.variables if is_moment(v, optimizer)])
        self._generators = generator_states(model)
        self._counters = [optimizer.iterations, *self._generators]
        shape = (plan.num_workers, self._moments.size)
        self._stacked = keras.Variable(np.zeros(shape, np.float32), trainable=False, name="worker_moments")
        self._stacked.assign(np.tile(self._moments.read(), (plan.num_workers, 1)))
        self.variables = [self._stacked]
        """Of a checkpoint: the moments of every worker. They are up to date after `gather`."""
        self._own: list[np.ndarray] = []
        self._is_common = True
        self._done = 0
        self._parted = 0

    @property
    def is_between_turns(self) -> bool:
        """Whether all workers have the common weights now."""
        return self._done == 0

    def begin_epoch(self) -> None:
        """Before the first step of an epoch, or of a session within one. All ranks."""
        if not self._own:
            self._take_over()
        self._begin_turn()

    def _take_over(self) -> None:
        """Take the moments of the own workers from `variables`, in which a checkpoint may be."""
        stacked = np.asarray(self._stacked)
        self._own = [stacked[worker].copy() for worker in self.plan.own]
        self._is_common = bool((stacked == stacked[0]).all())
        self._moments.write(self._own[0])

    def executed(self, steps: int) -> None:
        """`steps` of the worker in turn are done. All ranks, after each execution; between two turns they exchange."""
        self._is_common = False
        self._done += steps
        if self._done % self.plan.local_steps:
            return
        self._leave()
        if self._done < self.plan.turn:
            self._enter(self._done // self.plan.local_steps)
        else:
            self._average_weights()
            self._begin_turn()

    def end_epoch(self) -> None:
        """Average the moments: the model has the state that all workers have in common. All ranks."""
        self._keep_moments()
        mean = self._mean(np.sum(self._own, axis=0), "moments")
        self._own = [mean] * len(self._own)
        self._moments.write(mean)
        self._is_common = True
        self._leave_generators()

    def gather(self) -> None:
        """Bring `variables` up to date, before they are saved. All ranks."""
        self._keep_moments()
        if self._is_common:
            self._stacked.assign(np.tile(self._own[0], (self.plan.num_workers, 1)))
            return
        # Not by a sum, which may be rounded between hosts.
        self._stacked.assign(np.concatenate(self._world.allgather(np.stack(self._own))))

    def _begin_turn(self) -> None:
        self._done = 0
        self._leave_generators()
        self._common = self._weights.read()
        self._counts = [np.array(v) for v in self._counters]
        self._change = np.zeros_like(self._common)
        self._enter(0)

    def _enter(self, index: int) -> None:
        """Give the model the state of an own worker at the begin of its turn."""
        if len(self.plan.own) > 1:
            self._weights.write(self._common)
            self._moments.write(self._own[index])
            for variable, value in zip(self._counters, self._counts, strict=True):
                variable.assign(value)
        worker = self.plan.own[index]
        self._part.assign(worker)
        part_from_root(self._model, worker)
        self._parted = worker

    def _leave(self) -> None:
        index = self._done // self.plan.local_steps - 1
        self._change += self._weights.read() - self._common
        if len(self.plan.own) > 1:
            self._own[index] = self._moments.read()

    def _leave_generators(self) -> None:
        part_from_root(self._model, -self._parted)
        self._parted = 0

    def _average_weights(self) -> None:
        self._weights.write(self._common + self._mean(self._change, "change"))

    def _keep_moments(self) -> None:
        """A worker that has the model for itself has its moments there alone."""
        if len(self._own) == 1:
            self._own[0] = self._moments.read()

    def _mean(self, total: np.ndarray, name: str) -> np.ndarray:
        """The mean over all workers of what this rank has summed over its own. All ranks."""
        summed = self._world.allreduce_sum(total, name=f"local_steps.{name}", dtype="float32")
        return summed / np.float32(self.plan.num_workers)


class Flat:
    """Variables read and written as one float32 array."""

    def __init__(self, variables: Sequence[Any]) -> None:
        self._values = [v.value for v in variables]
        self._sizes = [int(np.prod(v.shape)) for v in variables]
        self.size = sum(self._sizes)
        self._read, self._write = tf.function(self._concat), tf.function(self._assign)

    def read(self) -> np.ndarray:
        """A copy."""
        return np.array(self._read()) if self._values else np.zeros(0, np.float32)

    def write(self, array: np.ndarray) -> None:
        if self._values:
            self._write(tf.constant(array))

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _concat(self) -> Any:
        return tf.concat([tf.reshape(v, [-1]) for v in self._values], 0)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _assign(self, flat: Any) -> None:
        for variable, part in zip(self._values, tf.split(flat, self._sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape))


def is_moment(variable: Any, optimizer: Any) -> bool:
    """Whether a variable of the optimizer is one of a weight's: not a counter, and not the learning rate."""
    counter = variable is optimizer.iterations or variable is getattr(optimizer, "_learning_rate", None)
    return not counter and np.issubdtype(np.asarray(variable).dtype, np.floating)
