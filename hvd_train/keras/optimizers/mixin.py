"""What makes a Keras optimizer distributed: an `apply` that averages the gradients over the ranks first.

Keras calls `apply(gradients, variables)` for every update, whatever the loop: fit(), train_on_batch(), a custom
train_step or a GradientTape. Clipping, weight decay, moving averages and the unscaling of the loss all come after it,
so they see what one process would see on the combined batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_train.keras import checks, hooks
from hvd_train.keras.basics import is_elastic, key, require_initialized
from hvd_train.keras.optimizers import hidden
from hvd_train.keras.optimizers.aggregation import GradientAggregation
from hvd_train.keras.optimizers.gradients import Reduction
from hvd_train.keras.optimizers.sharing import SharedUpdate


class OptimizerState:
    """What a distributed optimizer knows beyond Keras. A plain object: Keras does not track or save it."""

    next_number = 0

    def __init__(
        self, reduction: Reduction, name: str, passes: int, average_passes: bool, share_update: bool = False
    ) -> None:
        self.reduction = reduction
        self.name = name
        self.aggregation = GradientAggregation(passes, average=average_passes) if passes != 1 else None
        self.local: dict[int, Any] = {}
        self.number: int | None = None
        self.share_update = share_update
        self.shared: bool | None = None
        """Whether updates are sharded, so that each rank has its shard of the moments; None before the first."""
        self.whole: Any = None
        """What told the step after which this rank had all of the moments (SharedUpdate)."""

    def prepare(self, gradients: Sequence[Any], variables: Sequence[Any], optimizer: Any = None) -> None:
        """Before the first reduction: compare the ranks' models, and agree on a number for the collectives' names."""
        if self.number is not None:
            return
        number = self.number_or_next()
        # In an elastic job a rank that joins would ask here, and those that go on would not: KerasState.sync() asks.
        if self.reduction.needs_communication() and not is_elastic():
            lines = checks.describe(variables, gradients)
            held = hidden.contents(hooks.models_of(optimizer))
            number = checks.agree(lines, number=number, process_set=self.reduction.process_set, contents=held)
        self.take(number)

    def number_or_next(self) -> int:
        """What tells this optimizer's collectives from another's: the number it has, or would take."""
        return OptimizerState.next_number if self.number is None else self.number

    def take(self, number: int) -> None:
        """Have `number` from now on; every rank must give the same."""
        self.number = number
        OptimizerState.next_number = max(OptimizerState.next_number, number + 1)

    def reduce(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        return self.reduction.reduce(gradients, variables, name=f"{self.name}.{self.number}", local=self.local)


class DistributedMixin(SharedUpdate):
    """The part of a distributed optimizer that is not the plain optimizer. Comes first in its bases."""

    _hvd_new_state: Callable[[], OptimizerState]

    @property
    def hvd_state(self) -> OptimizerState:
        state = self.__dict__.get("_hvd_state")
        if state is None:  # also for an optimizer that from_config() has made
            state = type(self)._hvd_new_state()
            object.__setattr__(self, "_hvd_state", state)
        return state

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Average `grads` over the ranks, then update as the plain optimizer does. Every rank must call it."""
        self._hvd_apply(list(grads), trainable_variables, reduced=False)

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[Any, Any]],
        name: str | None = None,
        skip_gradients_aggregation: bool = False,
        experimental_aggregate_gradients: bool = True,
    ) -> Any:
        """As `apply`, on pairs; returns the count of updates. The two flags of Keras 2 say: already averaged."""
        reduced = skip_gradients_aggregation or not experimental_aggregate_gradients
        pairs = list(grads_and_vars)
        self._hvd_apply([g for g, _ in pairs], [v for _, v in pairs], reduced=reduced)
        return self.iterations  # type: ignore[attr-defined]

    def compute_gradients(self, loss: Any, var_list: Any, tape: Any = None) -> list[tuple[Any, Any]]:
        """Gradients of `loss`, averaged over the ranks, in pairs with `var_list`. Every rank must call it.

        Args:
            loss: a function without arguments, or a tensor that `tape` has recorded.
            var_list: variables, or a function that returns them.
            tape: needed for a tensor.
        """
        return self._compute_gradients(loss, var_list, None, tape)

    def _compute_gradients(
        self, loss: Any, var_list: Any, grad_loss: Any = None, tape: Any = None
    ) -> list[tuple[Any, Any]]:
        if not callable(loss) and tape is None:
            raise ValueError("`tape` is required when the loss is a tensor. Give the tape that recorded it.")
        tape = tf.GradientTape() if tape is None else tape
        if callable(loss):
            with tape:
                loss = tf.convert_to_tensor(loss())
        variables = list(var_list() if callable(var_list) else var_list)
        gradients = tape.gradient(loss, variables, grad_loss)
        return list(zip(self._hvd_reduce(list(gradients), variables), variables, strict=True))

    def get_gradients(self, loss: Any, params: Any) -> list[Any]:
        """The averaged gradients alone."""
        return [g for g, _ in self._compute_gradients(loss, params)]

    def minimize(self, loss: Any, var_list: Any, tape: Any = None) -> Any:
        """`compute_gradients`, then `apply_gradients`."""
        return self.apply_gradients(self.compute_gradients(loss, var_list, tape))

    @property
    def variables(self) -> list[Any]:
        """The optimizer's variables; the list can also be called, as `opt.variables()` of Keras 2."""
        return _CallableList(super().variables)  # type: ignore[misc]

    def register_local_var(self, var: Any) -> None:
        """Keep `var` to this rank: its gradient is not sent, only divided by the number of ranks (see
        `scale_local_gradients`). To be called before the first update, for the same variables on every rank."""
        self.hvd_state.local[key(var)] = var

    @property
    def lr(self) -> Any:
        """The learning rate, by its Keras 2 name."""
        return self.learning_rate  # type: ignore[has-type]

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    @property
    def _agg_helper(self) -> GradientAggregation | None:
        return self.hvd_state.aggregation  # the name that Horovod's own tests use

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator] # a user's tf.function converts what it calls, and warns where it cannot
    def _hvd_reduce(self, gradients: list[Any], variables: Sequence[Any]) -> list[Any]:
        """Phase one: the averaged gradients, marked as such so that apply() does not average them again."""
        require_initialized("DistributedOptimizer")
        if all(g is None for g in gradients):
            return gradients  # Keras' apply() has the words for it
        state = self.hvd_state
        state.prepare(gradients, variables, self)
        if state.aggregation is None:
            pending = [None if getattr(g, hooks.REDUCED, False) else g for g in gradients]
            reduced = state.reduce(pending, variables) if any(g is not None for g in pending) else pending
            reduced = [g if r is None else r for g, r in zip(gradients, reduced, strict=True)]
        else:
            reduced = state.aggregation.aggregate(gradients, variables, lambda sums: state.reduce(sums, variables))
        return [mark_reduced(g) for g in reduced]

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _hvd_apply(self, gradients: list[Any], variables: Iterable[Any] | None, *, reduced: bool) -> None:
        variables = None if variables is None else list(variables)
        known = variables if variables is not None else getattr(self, "_trainable_variables", [])
        if not gradients or len(known) != len(gradients):
            super().apply(gradients, variables)  # type: ignore[misc] # nothing to do, or an error in Keras' words
            return
        aggregation = self.hvd_state.aggregation
        if not self.built:  # type: ignore[has-type] # before a tf.cond: slots cannot be created inside one
            with keras.name_scope(self.name, caller=self):  # type: ignore[attr-defined]
                self.build(known)  # type: ignore[attr-defined]
            self.built = True
        if self._hvd_shares(gradients, known, reduced=reduced):
            self.hvd_state.prepare(gradients, known, self)
        elif not reduced and not (aggregation and any(getattr(g, hooks.REDUCED, False) for g in gradients)):
            gradients = self._hvd_reduce(gradients, known)
        update = super().apply  # type: ignore[misc]
        with hooks.inside_distributed():
            if aggregation is None:
                update(gradients, variables)
            else:
                aggregation.when_complete(lambda: update(gradients, variables), lambda: _count_pass(self))


class _CallableList(list[Any]):
    def __call__(self) -> list[Any]:
        return self


def mark_reduced(gradient: Any) -> Any:
    """Note on a gradient that it is an average over the ranks already."""
    if gradient is not None:
        setattr(gradient, hooks.REDUCED, True)
    return gradient


def _count_pass(optimizer: Any) -> None:
    """A pass without an update still counts as an iteration, as in Horovod: schedules count batches."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    optimizer._iterations.assign_add(1)
