"""SplitConfig: how rows are assigned to train, val and test, and to virtual shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config.section import Section, require

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Section):
    """How rows are assigned to train, val and test, and to virtual shards."""

    method: Annotated[str, tyro.conf.arg(name="split")] = "auto"
    """How to assign rows to train, val and test: auto, official (YearPredictionMSD), sequential, random, stratified, group:COLUMN or column:COLUMN."""
    val_fraction: float = 0.1
    """Share of the rows in the validation split, which chooses the best epoch. Between 0 and 1."""
    test_fraction: float = 0.1
    """Share of the rows in the test split, which gives the final metrics. Between 0 and 1."""
    seed: Annotated[int, tyro.conf.arg(name="split-seed")] = 0
    """Seed of the split and of the assignment of rows to virtual shards."""
    insist_on_random_split: bool = False
    """Allow a random split of songs, although the songs of one artist are then in several splits."""
    num_virtual_shards: int | None = None
    """Number of virtual shards. The number of ranks must divide it. By default 64, or fewer for a small table."""

    def check(self) -> None:
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "it is a share between 0 and 1")
        require(0 < self.test_fraction < 1, "test_fraction", self.test_fraction, "it is a share between 0 and 1")
        held_out = self.val_fraction + self.test_fraction
        require(held_out < 1, "val_fraction + test_fraction", held_out, "rows must be left to train on")
        num_shards = self.num_virtual_shards
        require(num_shards is None or num_shards >= 1, "num_virtual_shards", num_shards, "there is at least one")
