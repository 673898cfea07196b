"""What a run tells whoever listens: an Observer hears how it goes, a Watch hears where each rank is.

`hvd_train.cli.console` shows a run on a terminal, `hvd_train.watchdog` watches over the ranks. These base classes do nothing.
"""

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


class Watch:
    """Watches nothing. What the trainer says goes unheard."""

    def phase(self, where: str, *, waits_for_others: bool) -> None:
        """Where this rank is, in words, and whether it then waits for the others. Costs nothing worth counting."""

    def progress(self, step: int) -> None:
        """A step was finished; `step` counts from the beginning of the run."""

    def close(self) -> None:
        """This rank has come to its end in good order."""
