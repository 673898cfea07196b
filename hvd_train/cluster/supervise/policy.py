"""What comes after the end of the ranks: restart, continue in another job, or give up. Pure functions over the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hvd_train.errors import TO_BE_CONTINUED
from hvd_train.processes import KILLED, MEMORY_RAN_OUT
from hvd_train.runs import job_history

Position = tuple[int, int]
"""Complete epochs and the steps after them, as a checkpoint has them."""

MISTAKES = (2, 3)
# How ranks end that died of another one's end: killed by a signal, or told by the watchdog.
KILLED_CODES = (4, 134, 135, 137, 139)
# mpirun's own code where the daemon of another host is gone (ORTE_ERR_COMM_FAILURE).
LOST_HOST = 205
LONGEST_DELAY_S = 60.0
# With less time than this before the warning a restart would not get beyond its start.
SHORTEST_TRAINING_S = 30.0
# Jobs in a row that may end without a new checkpoint and be continued all the same: one can have lost its time at a slow start.
MAX_FRUITLESS_JOBS = 1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The limits that the user set."""

    max_restarts: int = 3
    """Restarts in a row without a new checkpoint."""
    restart_delay_s: float = 5.0
    """Before the first of them. It doubles with each. After a new checkpoint nothing is waited for."""
    max_requeues: int = 20
    max_total_time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one start of the ranks ended."""

    code: int
    done: bool
    """Whether the run is complete, by its file DONE."""
    started_from: Position | None
    """The position of the checkpoint that the ranks started from; None without one."""
    reached: Position | None
    """The position of the newest checkpoint now."""
    step: Position | None = None
    """The last step that the ranks reported."""
    warned: bool = False
    """Whether the ranks were asked to save and end."""
    stopped_by: int | None = None
    """The signal that ended the supervisor."""
    memory: bool = False
    """Whether the kernel's OOM killer ended a process of the job."""
    hung: str = ""
    """What did not end by itself, in words."""
    said: str = ""
    """The error that the ranks wrote."""

    @property
    def new_checkpoint(self) -> bool:
        return self.reached is not None and self.reached != self.started_from


@dataclass(frozen=True)
class Decision:
    outcome: job_history.Outcome
    reason: str
    next: job_history.Next
    code: int
    """What the supervisor ends with, if it ends now."""
    delay_s: float = 0.0
    """Before a restart."""


def decide(
    ended: Ended, past: Sequence[job_history.Event], rules: Rules, *, continues: bool, time_left_s: float | None = None
) -> Decision:
    """What comes next.

    Args:
        past: The history of the run before this end, this start included.
        continues: Whether this is a batch job that can be continued by another.
        time_left_s: Seconds until the job must have saved; None without a limit.
    """
    if ended.done:
        return Decision("done", "the run is complete", "nothing", 0)
    if ended.stopped_by is not None:
        return Decision("stopped", "stopped by a signal", "nothing", 128 + ended.stopped_by)
    if ended.code == TO_BE_CONTINUED or (ended.warned and ended.new_checkpoint):
        return _after_saving(ended, past, rules, continues)
    if ended.code in MISTAKES and not ended.warned:
        return Decision("mistake", ended.said or "the training refused to start", "give-up", ended.code)
    if ended.code == MEMORY_RAN_OUT or (ended.memory and ended.code in KILLED_CODES):
        said = ended.said if ended.code == MEMORY_RAN_OUT else ""
        return Decision("memory", said or KILLED, "give-up", MEMORY_RAN_OUT)
    return _after_failure(ended, past, rules, continues, time_left_s)


def fruitless_jobs(past: Sequence[job_history.Event]) -> int:
    """How many jobs before this one, in a row, were continued without a new checkpoint."""
    count = 0
    for start, end in reversed(_pairs(past)):
        if (end.epoch, end.step) != (start.epoch, start.step) or end.next in ("give-up", "nothing"):
            break
        count += end.next == "continue"
    return count


def _after_saving(ended: Ended, past: Sequence[job_history.Event], rules: Rules, continues: bool) -> Decision:
    saved = "a checkpoint was saved after a warning" if ended.new_checkpoint else "a warning came before the first step"
    code = TO_BE_CONTINUED
    if not continues:
        return Decision("saved", saved, "nothing", code)
    if hindrance := why_not_continue(ended, past, rules):
        return Decision("saved", hindrance, "give-up", code)
    return Decision("saved", saved, "continue", code)


def why_not_continue(ended: Ended, past: Sequence[job_history.Event], rules: Rules) -> str:
    """Why no other job may go on with this run, in words; empty where one may."""
    if not ended.new_checkpoint and fruitless_jobs(past) >= MAX_FRUITLESS_JOBS:
        return (
            "there is no new checkpoint since the job before, so another job with the same limit would come no further"
        )
    requeues = sum(isinstance(event, job_history.End) and event.next == "continue" for event in past)
    if requeues >= rules.max_requeues:
        return f"the run was continued {requeues} times, and --max-requeues is {rules.max_requeues}"
    return ""


def _after_failure(
    ended: Ended, past: Sequence[job_history.Event], rules: Rules, continues: bool, time_left_s: float | None
) -> Decision:
    reason = describe_failure(ended)
    code = ended.code or 1
    if ended.warned:
        goes_on = continues and not why_not_continue(ended, past, rules)
        text = f"{reason} after a warning, without a new checkpoint"
        return Decision("failed", text, "continue" if goes_on else "give-up", code)
    failures = failures_in_a_row(ended, past)
    if failed_alike(ended, past):
        text = f"{reason}; the same happened at the start before, and nothing was gained in between"
        return Decision("failed", text, "give-up", code)
    if failures > rules.max_restarts:
        text = f"{reason}; {rules.max_restarts} restarts without a new checkpoint are allowed (--max-restarts)"
        return Decision("failed", text if rules.max_restarts else reason, "give-up", code)
    fruitless = failures_without_gain(ended, past)
    delay = min(rules.restart_delay_s * 2 ** (fruitless - 1), LONGEST_DELAY_S) if fruitless else 0.0
    if time_left_s is not None and time_left_s < delay + SHORTEST_TRAINING_S:
        if continues and not why_not_continue(ended, past, rules):
            return Decision("failed", f"{reason}, shortly before the time limit", "continue", code)
        return Decision("failed", f"{reason}, and the time limit is too near for a restart", "give-up", code)
    return Decision("failed", reason, "restart", code, delay)


def describe_failure(ended: Ended) -> str:
    """Why the ranks ended, in words."""
    if ended.hung:
        return ended.hung
    if ended.said:
        return ended.said
    if ended.code == 0:
        return "the launcher ended with 0, but the run is not complete"
    if ended.code == LOST_HOST:
        return "mpirun lost the connection to a host"
    if ended.code > 128:
        return f"the ranks were ended by signal {ended.code - 128}"
    return f"the ranks ended with exit code {ended.code}"


def failures_in_a_row(ended: Ended, past: Sequence[job_history.Event]) -> int:
    """How many starts have failed since the last new checkpoint, this one included.

    A start that made a checkpoint and then failed begins the count. So does a run that was given up and is started again.
    """
    count = 1
    if ended.new_checkpoint:
        return count
    for start, end in reversed(_pairs(past)):
        if end.outcome != "failed" or end.next != "restart":
            break
        count += 1
        if (end.epoch, end.step) != (start.epoch, start.step):
            break
    return count


def failures_without_gain(ended: Ended, past: Sequence[job_history.Event]) -> int:
    """How many starts in a row have failed without a new checkpoint, this one included."""
    if ended.new_checkpoint:
        return 0
    gained = [
        end.outcome != "failed" or (end.epoch, end.step) != (start.epoch, start.step) for start, end in _pairs(past)
    ]
    return 1 + next((count for count, gain in enumerate(reversed(gained)) if gain), len(gained))


def failed_alike(ended: Ended, past: Sequence[job_history.Event]) -> bool:
    """Whether the start before failed in the same way without a new checkpoint, as this one did: a third would, too.

    Ranks that were killed or fell silent are not alike, whatever they say: the cause is outside of them.
    """
    pairs = _pairs(past)
    if ended.new_checkpoint or ended.hung or ended.code in KILLED_CODES or ended.code > 128 or not pairs:
        return False
    start, end = pairs[-1]
    gained = (end.epoch, end.step) != (start.epoch, start.step)
    alike = end.code == ended.code and end.reason == describe_failure(ended)
    return end.outcome == "failed" and end.next == "restart" and alike and not gained


def _pairs(past: Sequence[job_history.Event]) -> list[tuple[job_history.Start, job_history.End]]:
    """Starts with their ends, in order. A start whose supervisor was killed has none and is left out."""
    starts = {event.number: event for event in past if isinstance(event, job_history.Start)}
    return [
        (starts[event.number], event) for event in past if isinstance(event, job_history.End) and event.number in starts
    ]
