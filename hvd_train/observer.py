"""What a run tells whoever watches it. `hvd_train.console` shows it on a terminal; this base class shows nothing."""

from __future__ import annotations

from typing import Any


class Observer:
    """Told by the root alone; on the other ranks nobody watches."""

    def found(self, facts: dict[str, str]) -> None:
        """Before the first step: ranks, hosts, threads, versions, data, batch."""

    def note(self, text: str) -> None:
        """Something worth knowing, a sentence."""

    def epoch_begins(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        """Epochs count from 1."""

    def steps_done(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        """Some steps of the epoch are done; the loss is this rank's, for the progress bar alone."""

    def epoch_ended(self, row: dict[str, float], *, best: bool) -> None:
        """A row of metrics.csv."""

    def close(self) -> None:
        """The run ends here, perhaps in its middle."""

    def finished(self, report: Any) -> None:
        """The run came to its end."""
