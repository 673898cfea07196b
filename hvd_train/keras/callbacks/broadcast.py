"""BroadcastGlobalVariablesCallback: all ranks take the root's weights before the first step."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_train.keras import hooks
from hvd_train.keras.basics import KerasVariable, require_initialized, say_once
from hvd_train.keras.variables import broadcast_variables, is_built, state_of


class BroadcastGlobalVariablesCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Give every rank the model's and the optimizer's variables of the root, once, before the first step.

    Where a callback that comes later restores a checkpoint on the root, the weights are broadcast again before the
    first step, and all ranks begin with the root's epoch. A model that has no variables yet when fit() begins is built
    from the first batch, and then broadcast, before that batch is used. The states of random generators (Dropout) stay
    each rank's own.

    Args:
        root_rank: the rank whose values are taken; it may have loaded a checkpoint.
        device: TensorFlow device for the broadcast.
        local_variables: a variable or a list of them that each rank keeps for itself.
    """

    hvd_communicates = True
    waits_for_build = False
    """Set where fit() begins and some rank's model is not built: all ranks then broadcast in the first step."""

    def __init__(self, root_rank: int, device: str = "", local_variables: Any = None) -> None:
        super().__init__()
        self.root_rank = root_rank
        self.device = device
        self.broadcast_done = False
        self._local: list[Any] = []
        variables: Sequence[Any] = local_variables if isinstance(local_variables, (list, tuple)) else [local_variables]
        for variable in variables if local_variables is not None else ():
            self.register_local_var(variable)

    def register_local_var(self, var: Any) -> None:
        """Leave `var` out of the broadcast, on every rank."""
        if not isinstance(var, (tf.Variable, KerasVariable)):
            raise ValueError("All local variables must be of tf.Variable or keras.Variable type.")
        self._local.append(var)

    @property
    def local_variables(self) -> list[Any]:
        """What is left out of the broadcast."""
        return list(self._local)

    def on_train_begin(self, logs: Any = None) -> None:
        require_initialized("BroadcastGlobalVariablesCallback")
        if hooks.holds_distributed(self.model.optimizer):  # it may have been set after compile()
            hooks.forbid_jit(self.model)
        if self.broadcast_done:
            return
        if is_built(self.model) and not self.waits_for_build:
            self.broadcast_now()
        else:
            self._broadcast_once_built()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.broadcast_done:
            self.broadcast_now()

    def on_train_end(self, logs: Any = None) -> None:
        if "train_step" in vars(self.model) and hasattr(self.model.train_step, "hvd_original"):
            self.model.train_step = self.model.train_step.hvd_original

    def broadcast_now(self) -> None:
        """Take the root's state. All ranks."""
        with tf.init_scope(), tf.device(self.device):
            broadcast_variables(state_of(self.model, excluded=self._local), root_rank=self.root_rank)
        self.broadcast_done = True

    def _broadcast_once_built(self) -> None:
        """Put the broadcast in front of the first train_step, which knows what a batch looks like."""
        original = self.model.train_step

        def train_step(data: Any) -> Any:
            if not self.broadcast_done:
                _build(self.model, data)
                if is_built(self.model):
                    self.broadcast_now()
                else:
                    say_once(
                        f"{self.model.name} could not be built before its first step, because calling it does not "
                        "create all its layers. Its weights are broadcast after the first step; build it before fit() "
                        "to have them broadcast before."
                    )
            return original(data)

        train_step.hvd_original = original  # type: ignore[attr-defined]
        self.model.train_step = train_step
        self.model.make_train_function(force=True)


def _build(model: Any, data: Any) -> None:
    """Create the variables of `model` for batches like `data`. Its ops are traced, not run."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    with tf.init_scope(), contextlib.suppress(Exception), warnings.catch_warnings():
        # A model without call(), or whose call() wants something else, is for its own train_step to build; what is
        # really wrong with it, that will say.
        warnings.simplefilter("ignore")
        like_x = tf.nest.map_structure(tf.type_spec_from_value, x)
        tf.function(lambda batch: model(batch), autograph=False).get_concrete_function(like_x)
