"""What a fault cost: computed from the times of the steps (`steps.Steps`) and of the faults. Pure."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from faults.plan import Fault


@dataclass(frozen=True)
class Struck:
    """A fault that happened. Times are those of the clock, in seconds."""

    fault: Fault
    time: float


@dataclass(frozen=True)
class Cost:
    """What one fault cost. None where the next fault came before the next step."""

    fault: Fault
    seconds: float | None
    """From the fault to the end of the next step, or to the end of the run where it was done."""
    lost_steps: int
    """Steps that were computed again."""
    phases: dict[str, float]
    """Where the seconds went."""
    hit: str
    """What the run was doing: start-up, steps, after the last step."""


def read(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The lines of a file of steps. A torn one is left out."""
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and {"pid", "time", "what"} <= event.keys():
            found.append(event)
    return found


def costs(events: Sequence[dict[str, Any]], struck: Sequence[Struck], launches: Sequence[float] = ()) -> list[Cost]:
    """The cost of each fault, in order. `launches` are the times at which an mpirun was born."""
    found = []
    for index, one in enumerate(struck):
        previous = struck[index - 1].time if index else 0.0
        until = struck[index + 1].time if index + 1 < len(struck) else float("inf")
        launched = min((at for at in launches if at > one.time), default=None)
        found.append(_cost(one, events, previous, until, launched))
    return found


def _cost(one: Struck, events: Sequence[dict[str, Any]], previous: float, until: float, launched: float | None) -> Cost:
    before = [event for event in events if previous < event["time"] <= one.time]
    own = [event for event in before if event["what"] == "steps"]
    victim = own[-1]["pid"] if own else None
    hit = "after the end" if any(e["what"] == "end" for e in before) else "steps" if own else "start-up"
    after = [event for event in events if event["time"] > one.time]
    again = [event for event in after if event["pid"] != victim and event["what"] in ("steps", "end")]
    if not again:
        return Cost(one.fault, None, 0, {}, hit)
    first = again[0]
    start = next((e for e in after if e["what"] == "start" and e["pid"] == first["pid"]), None)
    # A rank that did not hear of the fault yet may end a step or two after it. They are lost as well.
    reached = [e["done"] for e in (*own, *after) if e["pid"] == victim and "done" in e]
    lost = 0
    if reached and first["what"] == "steps":
        lost = max(0, max(reached) - (first["done"] - _per_execution(start, first, again)))
    if first["time"] > until:
        return Cost(one.fault, None, lost, {}, hit)
    return Cost(one.fault, first["time"] - one.time, lost, _phases(one, launched, start, first), hit)


def _per_execution(start: dict[str, Any] | None, first: dict[str, Any], again: list[dict[str, Any]]) -> int:
    """Steps in the first execution: as configured, or the distance of the first two where that is not known."""
    if start and start.get("per_execution"):
        return int(start["per_execution"])
    following = [e["done"] for e in again if e["pid"] == first["pid"] and "done" in e][1:2]
    return following[0] - first["done"] if following else 1


PHASES = ("noticed, ended, next mpirun", "start of the ranks", "imports and MPI", "data and checkpoint", "first step")


def _phases(
    one: Struck, launched: float | None, start: dict[str, Any] | None, first: dict[str, Any]
) -> dict[str, float]:
    if start is None or launched is None:
        return {}
    times = [one.time, launched, start["born"], start["imported"], start["time"], first["time"]]
    return {name: later - earlier for name, earlier, later in zip(PHASES, times, times[1:], strict=False)}


def summary(found: Sequence[Cost]) -> dict[str, Any]:
    """Median, 95th percentile and most of the seconds and of the lost steps; the median of each phase; by kind of fault."""
    return {
        "seconds": figures([cost.seconds for cost in found if cost.seconds is not None]),
        "lost_steps": figures([float(cost.lost_steps) for cost in found if cost.hit == "steps"]),
        "phases_s": {
            name: round(statistics.median(values), 3)
            for name in PHASES
            if (values := [cost.phases[name] for cost in found if name in cost.phases])
        },
        "by_kind": {
            kind: {
                "faults": len(of_kind),
                "seconds": figures([cost.seconds for cost in of_kind if cost.seconds is not None]),
            }
            for kind in dict.fromkeys(sorted(cost.fault.kind for cost in found))
            if (of_kind := [cost for cost in found if cost.fault.kind == kind])
        },
        "hit": {what: sum(cost.hit == what for cost in found) for what in sorted({cost.hit for cost in found})},
        "moments": {m: sum(cost.fault.moment == m for cost in found) for m in sorted({c.fault.moment for c in found})},
    }


def figures(values: Sequence[float]) -> dict[str, float] | None:
    """Median, p95 (nearest rank) and maximum."""
    if not values:
        return None
    ordered = sorted(values)
    p95 = ordered[-(-95 * len(ordered) // 100) - 1]
    return {
        "number": len(ordered),
        "median": round(statistics.median(ordered), 3),
        "p95": round(p95, 3),
        "max": round(ordered[-1], 3),
    }
