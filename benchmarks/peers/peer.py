"""What the peers' programs share: the rows, the pinning, the clock. Standard library and numpy; runs in every environment.

The net of all rows is FACTS of the comparison: input 90 x 1, Conv1D 32 of 3 taps (same), ReLU, twice; dense 128, ReLU;
90 classes; Adam; float32; 256 rows a step on each rank.
"""

from __future__ import annotations

import json
import os
import time

NUM_FEATURES, NUM_CLASSES, LOCAL_BATCH = 90, 90, 256
NUM_ROWS = 16_384
WARM_UP_S, MEASURED_S = 2.0, float(os.environ.get("PEER_SECONDS", "4"))


def pin(local_rank: int, local_size: int) -> None:
    """With PEER_PINNED=1: this rank's own cores, before any thread starts. Thread counts come with the environment."""
    if os.environ.get("PEER_PINNED") == "1":
        cores = sorted(os.sched_getaffinity(0))
        first, last = (len(cores) * r // local_size for r in (local_rank, local_rank + 1))
        os.sched_setaffinity(0, cores[first:last])


def rows():
    """(N, 90, 1) float32 and (N,) int64."""
    import numpy as np

    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(NUM_ROWS, NUM_FEATURES, 1)).astype(np.float32),
        rng.integers(0, NUM_CLASSES, NUM_ROWS).astype(np.int64),
    )


class Clock:
    """Counts steps from the end of the warm-up until the time is up."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.counted_from = None
        self.steps = 0

    def step(self) -> bool:
        """After each step; True when enough was measured."""
        now = time.perf_counter()
        if self.counted_from is None:
            if now - self.began >= WARM_UP_S:
                self.counted_from = now
            return False
        self.steps += 1
        self.seconds = now - self.counted_from
        return self.seconds >= MEASURED_S

    def tell(self, rank: int) -> None:
        """One line of JSON: samples a second of this rank."""
        print(json.dumps({"rank": rank, "samples_per_s": self.steps * LOCAL_BATCH / self.seconds}), flush=True)
