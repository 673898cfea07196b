"""The time that a run still has: in this job by its scheduler or --time, and in all jobs together by --max-total-time."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

from hvd_train.cluster.supervise.allocation import Allocation
from hvd_train.cluster.supervise.surroundings import Surroundings
from hvd_train.runs import job_history

COMMAND_S = 20.0


class TimeLimit:
    """When this supervisor has to have ended. Times are readings of the clock of `Surroundings`."""

    def __init__(
        self,
        allocation: Allocation,
        world: Surroundings,
        past: Sequence[job_history.Event],
        *,
        warn_s: float,
        time_limit_s: float | None,
        max_total_s: float | None,
    ) -> None:
        self._allocation, self._world, self._warn_s = allocation, world, warn_s
        self._job_ends_at = math.inf if time_limit_s is None else world.now() + time_limit_s
        self._total_ends_at = math.inf if max_total_s is None else world.now() + max(0.0, max_total_s - spent_s(past))
        self.refresh()

    def refresh(self) -> None:
        """Ask the scheduler again: a limit can be changed while the job runs."""
        scheduler, job = self._allocation.scheduler, self._allocation.job
        if scheduler is None or job is None:
            return
        answer = self._world.run(scheduler.time_left_command(job.id), COMMAND_S)
        left = scheduler.time_left_s(answer.output, job.id) if answer.code == 0 else None
        if left is not None:
            self._job_ends_at = self._world.now() + left

    @property
    def warn_at(self) -> float | None:
        """When the ranks have to be asked to save; None without a limit."""
        at = min(self._job_ends_at - self._warn_s, self._total_ends_at)
        return None if at == math.inf else at

    @property
    def left_s(self) -> float | None:
        """Seconds until then."""
        return None if self.warn_at is None else self.warn_at - self._world.now()

    @property
    def total_is_used_up(self) -> bool:
        return self._world.now() >= self._total_ends_at


def spent_s(past: Sequence[job_history.Event]) -> float:
    """Seconds that the ranks have run, in all jobs of this run."""
    starts = {event.number: _seconds(event.time) for event in past if isinstance(event, job_history.Start)}
    ends = {event.number: _seconds(event.time) for event in past if isinstance(event, job_history.End)}
    return sum(max(0.0, ends[number] - began) for number, began in starts.items() if number in ends)


def _seconds(time: str) -> float:
    try:
        return datetime.datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0
