"""What is supervised: the command line of a verb, how its end is judged, and what a further start of it would go on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hvd_train.runs import RunDir, checkpoint

Verb = Literal["train", "ensemble", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run of one verb."""

    verb: Verb = "train"
    run_dir: RunDir
    """Where the run is. For a verb without a run of its own, a temporary directory for RUN/job."""
    flags: tuple[str, ...]
    """Of the verb. Without --run-dir and --resume, where the run has a directory."""
    num_virtual_shards: Callable[[int], int]
    """For so many slots, as far as is known before the table was read."""
    keeps_size: bool = False
    """Whether another number of ranks would be another experiment: with --local-batch-size."""

    @property
    def repeatable(self) -> bool:
        """Whether a further start goes on where the one before ended."""
        return self.verb in ("train", "ensemble")

    def command(self, program: str) -> list[str]:
        """Begins the run, or goes on with it."""
        where = ("--run-dir", str(self.run_dir.path)) if self.repeatable else ()
        resume = ("--resume", "auto") if self.verb == "train" else ()
        return [program, self.verb, *self.flags, *where, *resume]

    def position(self) -> tuple[int, int] | None:
        """Epochs and steps in the newest checkpoint. Of an ensemble: summed over its members."""
        if self.verb != "ensemble":
            return checkpoint.position(self.run_dir.last)
        members = sorted((self.run_dir.path / "members").glob("*"))
        found = [one for member in members if (one := checkpoint.position(RunDir(member).last))]
        return (sum(epochs for epochs, _ in found), sum(steps for _, steps in found)) if found else None

    def done(self) -> bool:
        """Whether the run is complete by its files. False where only the exit code can say."""
        return self.verb == "train" and self.run_dir.done.exists()

    def complete(self, code: int) -> bool:
        """Whether all was done, after the ranks have ended with `code`."""
        return self.done() if self.verb == "train" else code == 0

    def __str__(self) -> str:
        return str(self.run_dir.path) if self.repeatable else f"hvd-train {self.verb}"
