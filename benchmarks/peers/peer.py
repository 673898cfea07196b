"""What the peers' programs share: the rows, the pinning, the clock. Standard library and numpy; runs in every environment.

The net of all rows is FACTS of the comparison: input 90 x 1, Conv1D 32 of 3 taps (same), ReLU, twice; dense 128, ReLU;
90 classes; Adam; float32; 256 rows a step on each rank.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

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

    def __new__(cls) -> Clock:
        return object.__new__(ClockOfRates if cls is Clock and "PEER_RATES" in os.environ else cls)

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


class ClockOfRates(Clock):
    """In a laboratory of hosts (benchmarks/hosts.py): counts steps, and what the host sends, at one rate of the links after the other.

    The root asks for the rates and says when it is enough. The other ranks' steps are its own, to within one.
    """

    LEAST_STEPS = 3

    def __init__(self) -> None:
        super().__init__()
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from wire import rates

        self._wire = rates
        self._is_root = os.environ.get("RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "0"
        self._left = os.environ["PEER_RATES"].split()
        self._turn = 0
        self._found: list[dict[str, float | str]] = []
        self._rate, self._over = "", False

    def step(self) -> bool:
        now = time.perf_counter()
        if self._over:
            return True
        if not self._is_root or (not self._rate and now - self.began < WARM_UP_S):
            return False
        if not self._rate:
            return self._next()
        self._steps_here += 1
        if self.counted_from is None:
            if self._steps_here >= 2 and now - self.began >= WARM_UP_S / 4:
                self.counted_from, self.steps, self._sent = now, 0, self._wire.sent_bytes("lan0")
            return False
        self.steps += 1
        seconds = now - self.counted_from
        if self.steps < self.LEAST_STEPS or seconds < MEASURED_S:
            return False
        sent = self._wire.most_sent(self._sent, self._wire.sent_bytes("lan0"))
        one = {"rate": self._rate, "step_ms": 1000 * seconds / self.steps, "sent_bytes": sent / self.steps}
        self._found.append(one)
        return self._next()

    def _next(self) -> bool:
        if not self._left:
            self._over = True
            return True
        self._rate = self._left.pop(0)
        self._turn += 1
        self._wire.ask(os.environ["PEER_FOLDER"], self._rate, self._turn)
        self.began, self.counted_from, self._steps_here = time.perf_counter(), None, 0
        return False

    def tell(self, rank: int) -> None:
        if self._is_root:
            print(json.dumps({"rates": self._found}), flush=True)
