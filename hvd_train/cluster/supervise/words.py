"""What the supervisor says: which start begins, what happened, and what comes next."""

from __future__ import annotations

from hvd_train.cluster.supervise.policy import Decision
from hvd_train.cluster.supervise.task import Task
from hvd_train.runs import job_history


def starting(start: job_history.Start, task: Task) -> str:
    """Before a start of the ranks."""
    hosts = ", ".join(f"{host}: {ranks}" for host, ranks in start.hosts.items())
    ranks = "1 rank" if start.ranks == 1 else f"{start.ranks} ranks"
    return f"start {start.number} of {task} on {ranks} ({hosts}), {place_of(start.epoch, start.step)}"


def place_of(epoch: int, step: int) -> str:
    """Where a start begins.

    >>> place_of(2, 17)
    'from the checkpoint after 2 epochs and 17 steps'
    """
    if (epoch, step) == (0, 0):
        return "from the beginning"
    epochs = f"{epoch} epoch" + "s" * (epoch != 1)
    steps = f"{step} step" + "s" * (step != 1)
    parts = [part for part, count in ((epochs, epoch), (steps, step)) if count]
    return f"from the checkpoint after {' and '.join(parts)}"


def last_line(decision: Decision, task: Task) -> str:
    """What happened, and what comes next."""
    go_on = ""
    if task.repeatable:
        go_on = (
            " The same command goes on from the last checkpoint." if task.position() else " There is no checkpoint yet."
        )
    happened = {
        "done": f"{task} is complete",
        "saved": f"not complete: {decision.reason}",
        "failed": f"failed: {decision.reason}",
        "mistake": f"not started again: {decision.reason}",
        "memory": f"not started again: {decision.reason}",
        "stopped": f"{decision.reason}",
    }[decision.outcome]
    following = {
        "nothing": "" if decision.outcome == "done" else go_on,
        "restart": "",
        "continue": " Another job goes on.",
        "give-up": f" Given up.{go_on}",
    }[decision.next]
    return happened + "." * (not happened.endswith(".")) + following
