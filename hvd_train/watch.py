"""The watch over the ranks of a run: nothing where there is one rank, `hvd_train.launch.watchdog` where there are more."""

from __future__ import annotations


class Watch:
    """Watches nothing. What the trainer says goes unheard."""

    def phase(self, where: str, *, waits_for_others: bool) -> None:
        """Where this rank is, in words, and whether it then waits for the others. Costs nothing worth counting."""

    def progress(self, step: int) -> None:
        """A step was finished; `step` counts from the beginning of the run."""

    def close(self) -> None:
        """This rank has come to its end in good order."""
