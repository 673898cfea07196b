"""How ranks agree to end early: after the same execution of steps, for the same reason.

A signal reaches some ranks sooner than others, or one rank alone. So the ranks ask each other by a collective of a few
numbers. It is cheap, and a step can be cheaper. So they ask after so many executions of steps that the collective takes
COST of the time between. The collective also carries the times from which every rank computes that number alike.
An epoch may be a few short executions and a long validation, so its begin is a time to ask whatever that number is.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from statistics import median

import numpy as np

from hvd_train.distributed.world import World
from hvd_train.processes import REASONS

# The share of the time that the ranks spend on asking each other.
COST = 0.004
# The longest time between two questions, in seconds, where that share allows for less. A stop leaves less than a second.
LONGEST_S = 0.5
# The cost is the median of so many questions: one may have waited for a rank that was late.
REMEMBERED = 9


class Agreement:
    """What one rank knows of the questions. Each method is called by all ranks, at the same places of the loop."""

    def __init__(self, world: World, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._world, self._clock = world, clock
        self._executions = 0
        """Since the last question."""
        self.interval = 0
        """Executions between two questions."""
        self._asked_at = clock()
        self._took = math.inf
        self._costs: deque[float] = deque(maxlen=REMEMBERED)

    def executed(self) -> None:
        """An execution of steps is done."""
        self._executions += 1

    def is_due(self, *, always: bool = False) -> bool:
        """Whether `reason` is a collective now."""
        return self._world.size > 1 and (always or self._executions >= self.interval)

    def reason(self, own: str, *, always: bool = False) -> str:
        """Why all ranks end now, "" where they go on. `own` is the reason of this rank, "" without one. All ranks.

        They ask each other where that is due, or `always`.
        """
        if self._world.size == 1:
            return own
        return self._ask(own) if self.is_due(always=always) else ""

    def _ask(self, own: str) -> str:
        began, world = self._clock(), self._world
        # Each number has one rank that it comes from, or is a count: the sum is exact, and so the same on all ranks.
        message = np.zeros(len(REASONS) + 1 + world.size)
        if own:
            message[REASONS.index(own)] = 1
        if world.is_root and self._executions:
            message[len(REASONS)] = (began - self._asked_at) / self._executions
        message[len(REASONS) + 1 + world.rank] = self._took if math.isfinite(self._took) else 0
        total = world.allreduce_sum(message, name="early_end")
        self._asked_at = self._clock()
        self._took, self._executions = self._asked_at - began, 0
        self.interval = self._interval(float(total[len(REASONS)]), total[len(REASONS) + 1 :])
        return next((name for name, count in zip(REASONS, total, strict=False) if count), "")

    def _interval(self, execution_s: float, took: np.ndarray) -> int:
        if not execution_s:  # nothing was executed since the last question
            return self.interval or 1
        if not took.all():
            return 1
        self._costs.append(float(took.min()))  # of the rank that came last, and so waited for none
        return interval(execution_s, median(self._costs))


def interval(execution_s: float, cost_s: float) -> int:
    """Executions between two questions, where an execution of steps and a question take this long. Pure.

    >>> interval(0.1, 0.0002), interval(0.01, 0.0002), interval(0.01, 0.01)
    (1, 5, 50)
    """
    return max(1, math.ceil(min(cost_s / COST, LONGEST_S) / execution_s))
