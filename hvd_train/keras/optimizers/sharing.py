"""What a distributed optimizer does where the ranks share its update out (shared_update.py), and each has a part of its state.

Between two gatherings the other parts are out of date. What is saved then would be wrong in silence, so it is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from hvd_train.keras import hooks
from hvd_train.keras.basics import native
from hvd_train.keras.optimizers import shared_update


class SharedUpdate:
    """The part of DistributedMixin that is about sharing the update out."""

    hvd_state: Any

    def _hvd_shares(self, gradients: Sequence[Any], variables: Sequence[Any], *, reduced: bool) -> bool:
        """Whether this update is sharded. Once one was, all are: what is done otherwise needs whole moments."""
        state = self.hvd_state
        if not state.share_update:
            return False
        shares = (
            not reduced
            and state.aggregation is None
            and not state.local
            and not any(getattr(g, hooks.REDUCED, False) for g in gradients)
            and state.reduction.needs_communication()
            and shared_update.can_share(self, state.reduction, gradients, variables)
        )
        if state.shared and not shares:
            raise ValueError(
                f"{self.name} shares its updates out over the ranks, and this one cannot be: its gradients are not all dense and "  # type: ignore[attr-defined]
                "float32, or are averaged already. Give share_update=False where an optimizer gets such gradients, too."
            )
        state.shared = shares
        if shares:
            shared_update.sharing.add(self)
        return shares

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        """What Keras calls after weight decay, with gradients that are averaged, or are not and the update is sharded."""
        state = self.hvd_state
        if state.shared:
            name = f"{state.name}.{state.number}.update"
            shared_update.update(self, grads, trainable_variables, learning_rate, name, state.reduction)
        else:
            super()._backend_update_step(grads, trainable_variables, learning_rate)  # type: ignore[misc]

    def hvd_gather_state(self) -> None:
        """Give every rank the whole state of this optimizer, where they share its update. Every rank must call it."""
        if self.hvd_state.shared:
            shared_update.gather_moments(self)
            self.hvd_state.whole = self._hvd_step()

    @property
    def hvd_state_is_whole(self) -> bool:
        """Whether this rank has all of the optimizer's state as of the last step."""
        return not self.hvd_state.shared or self.hvd_state.whole == self._hvd_step()

    def _hvd_step(self) -> tuple[int, int]:
        """What tells one step from another, also after a checkpoint was restored: the count, and a weight's bits."""
        smallest = min(self._trainable_variables, key=lambda v: v.shape.num_elements() or 0)  # type: ignore[attr-defined]
        return int(self.iterations), zlib.crc32(native(smallest).numpy().tobytes())  # type: ignore[attr-defined]

    def save_own_variables(self, store: Any) -> None:
        """What Keras calls to save the optimizer. One rank alone cannot fetch the others' parts."""
        if not self.hvd_state_is_whole:
            raise ValueError(
                f"The state of {self.name} is sharded over the ranks, and this rank's copy of the other shards is out "  # type: ignore[attr-defined]
                "of date: saved now, it would be wrong. Call optimizer.hvd_gather_state() on every rank before, or save "
                "at the end of an epoch, where fit() does so for ModelCheckpoint and BackupAndRestore, or after fit(); or "
                "give DistributedOptimizer share_update=False."
            )
        super().save_own_variables(store)  # type: ignore[misc]

    def load_own_variables(self, store: Any) -> None:
        """What Keras calls to load the optimizer: its state is whole then."""
        super().load_own_variables(store)  # type: ignore[misc]
        if self.hvd_state.shared:
            self.hvd_state.whole = self._hvd_step()
