"""Which fault comes when: drawn from a seed before the run begins. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["kill", "stop", "mpirun", "daemon", "cut", "power-off"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WORDS: dict[Kind, str] = {
    "kill": "a rank is killed (SIGKILL)",
    "stop": "a rank is stopped (SIGSTOP)",
    "mpirun": "mpirun is killed",
    "daemon": "the daemon of mpirun on the other host is killed",
    "cut": "the cable of a host is pulled out",
    "power-off": "the other host loses its power, and boots again",
}
# How often each comes, relative to the others.
ONE_HOST: dict[Kind, int] = {"kill": 10, "stop": 5, "mpirun": 5}
TWO_HOSTS: dict[Kind, int] = {"kill": 6, "stop": 3, "mpirun": 3, "daemon": 2, "cut": 3, "power-off": 3}

Moment = Literal["step", "save", "start-up"]
MOMENTS: dict[Moment, int] = {"step": 12, "save": 5, "start-up": 3}
# Seconds after a planned step: up to about an epoch, so that validation and the end of an epoch have their share.
STEP_DELAY_S = 1.0
# Seconds after the temporary file of a checkpoint appeared. Its write takes about as long.
SAVE_DELAY_S = 0.02
# Seconds after mpirun was started.
START_UP_S = 8.0


@dataclass(frozen=True)
class Fault:
    """One fault. `rank` is the victim, or a rank on the host that is cut off."""

    number: int
    kind: Kind
    moment: Moment
    rank: int
    at: int
    """Steps of the run after which it comes. A fault during start-up comes with the start after the previous fault."""
    delay_s: float
    """Seconds after that moment."""


def plan(number: int, seed: int, *, kinds: dict[Kind, int], size: int, steps: int) -> list[Fault]:
    """`number` faults spread over a run of `steps` steps on `size` ranks.

    Each kind has its share exactly, up to rounding. The run is divided into equal parts, and each part has its fault at a
    random step of its first half. So every part makes progress before the next fault. Two faults in a row never hit the
    start-up: such a run would rightly be given up.
    """
    draw = random.Random(seed)
    drawn_kinds = _shares(list(kinds), list(kinds.values()), number, draw)
    moments = _shares(list(MOMENTS), list(MOMENTS.values()), number, draw)
    _part_start_ups(moments)
    faults = []
    for index, (kind, moment) in enumerate(zip(drawn_kinds, moments, strict=True)):
        part = steps / number
        limit = {"step": STEP_DELAY_S, "save": SAVE_DELAY_S, "start-up": START_UP_S}[moment]
        # Not host 0, where the supervisor runs: there its power takes the supervisor with it.
        rank = size - 1 if kind in ("daemon", "power-off") else draw.randrange(size)
        at = int(part * (index + 0.5 * draw.random()))
        faults.append(Fault(index + 1, kind, moment, rank, at, draw.uniform(0.0, limit)))
    return faults


def _shares(names: Sequence, weights: Sequence[int], number: int, draw: random.Random) -> list:
    """`number` names in random order, each as often as its weight says."""
    total = sum(weights)
    counts = [number * weight // total for weight in weights]
    missing = number - sum(counts)
    # The largest remainders first; alike ones in their order.
    order = sorted(range(len(names)), key=lambda i: -(number * weights[i] % total))
    for index in order[:missing]:
        counts[index] += 1
    found = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    draw.shuffle(found)
    return found


def _part_start_ups(moments: list[Moment]) -> None:
    """Reorder so that no two faults in a row hit the start-up, nor does the first: there is nothing before it."""
    for index, moment in enumerate(moments):
        if moment == "start-up" and (index == 0 or moments[index - 1] == "start-up"):
            for other in (*range(index + 1, len(moments)), *range(index - 1, -1, -1)):
                around = {moments[i] for i in (other - 1, other + 1) if 0 <= i < len(moments) and i != index}
                if moments[other] != "start-up" and other != 0 and "start-up" not in around:
                    moments[index], moments[other] = moments[other], moment
                    break
            else:
                moments[index] = "step"
