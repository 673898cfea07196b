"""What is supervised: a run, and the command line of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hvd_train.runs import RunDir, checkpoint


@dataclass(frozen=True, kw_only=True)
class Task:
    """`hvd-train train` in one run directory."""

    run_dir: RunDir
    flags: tuple[str, ...]
    """Of train, without --run-dir and --resume."""
    num_virtual_shards: Callable[[int], int]
    """For so many slots, as far as is known before the table was read."""
    keeps_size: bool = False
    """Whether another number of ranks would be another experiment: with --local-batch-size."""

    def command(self, program: str) -> list[str]:
        """Begins the run, or goes on with it."""
        return [program, "train", *self.flags, "--run-dir", str(self.run_dir.path), "--resume", "auto"]

    def position(self) -> tuple[int, int] | None:
        """Epochs and steps in the newest checkpoint."""
        return checkpoint.position(self.run_dir.last)

    def done(self) -> bool:
        return self.run_dir.done.exists()
