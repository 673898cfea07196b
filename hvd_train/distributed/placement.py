"""The placement of a process among the ranks of a run. The launchers read it from the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """One process among the ranks of a run."""

    rank: int
    size: int
    local_rank: int
    """Its number among the ranks of its host, from 0."""
    local_size: int
    """Number of ranks on its host."""
    host: str
    launcher: str
    """The name of what started it; empty where nothing did."""

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        return f"rank {self.rank} on host {self.host}"
