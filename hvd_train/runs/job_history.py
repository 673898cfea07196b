"""RUN/job/history.jsonl: when a run was started, where, and how each start ended. The supervisor writes it.

One JSON object a line, in the order of time. `Start` and `End` have the fields. A line is appended with one write, so a
supervisor that is killed leaves at most one torn line, and readers pass over what they cannot read.

    append(run_dir.history, Start(number=1, hosts={"node1": 2}, ranks=2))
    for event in read(run_dir.history): ...
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hvd_train.files import Damaged, strict

Outcome = Literal["done", "saved", "failed", "mistake", "memory", "stopped"]
Next = Literal["restart", "continue", "give-up", "nothing"]


def now() -> str:
    """The time as the history has it: UTC, ISO 8601, with milliseconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Start:
    """The ranks were started for the `number`-th time in this run."""

    number: int
    """1 is the first start of the run, in whatever job."""
    hosts: dict[str, int]
    """Ranks on each host."""
    ranks: int
    epoch: int = 0
    """Complete epochs in the checkpoint that the ranks start from; 0 and step 0 without one."""
    step: int = 0
    """Steps done in the epoch after those."""
    scheduler: str = ""
    """As `hvd_train.schedulers` names it; empty outside of a batch job."""
    job: str = ""
    """The id of the batch job."""
    time: str = field(default_factory=now)
    event: Literal["start"] = "start"


@dataclass(frozen=True, kw_only=True)
class End:
    """The ranks of that start have ended."""

    number: int
    code: int
    """The exit code of the training."""
    outcome: Outcome
    reason: str
    """In words."""
    next: Next
    epoch: int = 0
    """The position of the last checkpoint at the end."""
    step: int = 0
    lost_s: float = 0.0
    """Seconds of work since that checkpoint, which the next start repeats."""
    time: str = field(default_factory=now)
    event: Literal["end"] = "end"


Event = Start | End
_KINDS: dict[str, Any] = {"start": Start, "end": End}


def append(path: Path, event: Event) -> None:
    """Add one event, on disk when this returns. Makes the folder. OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = asdict(event)
    line = json.dumps({"event": fields.pop("event"), "time": fields.pop("time"), **fields}) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, ("\n" * torn + line).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> tuple[Event, ...]:
    """The events of a run in order. Empty where it has no history. Lines that are torn or of another kind are left out."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except OSError:
        return ()
    return tuple(_events(text.splitlines()))


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        try:
            document = strict.loads(line)
            kind = _KINDS[document["event"]]
            event: Event = strict.read(kind, document, "event")
        except (ValueError, KeyError, TypeError, Damaged):
            continue
        yield event


def story(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The starts of a run in order, each with its end: what report.json tells of them.

    "ended", "code", "outcome", "reason" and "lost_s" are None where nobody saw the end: the run goes on, or its supervisor
    was killed. "paused_s" are the seconds from there to the next start.
    """
    told: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, Start):
            fields = asdict(event)
            fields.pop("event")
            if told and told[-1]["ended"]:
                told[-1]["paused_s"] = seconds_between(told[-1]["ended"], event.time)
            unknown = dict.fromkeys(("ended", "code", "outcome", "reason", "lost_s", "paused_s"))
            told.append({"started": fields.pop("time"), **fields, **unknown})
        else:
            for start in told:
                if start["number"] == event.number:
                    start |= {"ended": event.time, "code": event.code, "outcome": event.outcome}
                    start |= {"reason": event.reason, "lost_s": event.lost_s}
    return told


def seconds_between(earlier: str, later: str) -> float | None:
    """Of two times as the history has them; None where one is no time."""
    try:
        difference = datetime.datetime.fromisoformat(later) - datetime.datetime.fromisoformat(earlier)
    except (ValueError, TypeError):
        return None
    return round(difference.total_seconds(), 3)
