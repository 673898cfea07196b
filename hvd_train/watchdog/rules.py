"""The rules of the watchdog: which rank is frozen, dead or late. No threads, sockets or clock in here.

Every time is a reading of an `AwakeClock` in seconds, passed by the caller. A rank sends a `Beat` once a second. `Judge`
keeps the last one of each rank and decides when the job has to end.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hvd_train.watchdog.proof import LONGEST_HOST, cleaned

# Characters of a phase and of an error that travel and are shown; a line has its limit.
LONGEST_PHASE = 200
LONGEST_ERROR = 500
# The phase of a rank before its first report.
START = "the start"
# The types of the fields of a beat on the wire.
BEAT: dict[str, Any] = {
    "host": str,
    "phase": str,
    "waits_for_others": bool,
    "step": int,
    "pulse": int,
    "idle_s": (int, float),
    "cpu_s": (int, float),
}
UNKNOWN_CAUSE = "killed, out of memory, or a crash in native code"
# At most so many ranks are named in a message.
MOST_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Times in seconds. 0 turns `watchdog_s` or `stall_s` off."""

    watchdog_s: float = 60.0
    """Silence after which a rank counts as frozen."""
    stall_s: float = 600.0
    """Time without a call of `phase` or `progress` on any rank after which the one that others wait for is named."""
    beat_s: float = 1.0
    """Time between two beats; shortened where watchdog_s is short."""
    connect_s: float = 30.0
    """How long a member tries to reach the root before training goes on without a watch over it."""
    settle_s: float = 3.0
    """After a pause of this very process: how long others have to be heard again before they are judged."""
    failed_s: float = 10.0
    """How long a rank that reported its own failure has to end the job."""

    @property
    def interval_s(self) -> float:
        return min(self.beat_s, self.watchdog_s / 5) if self.watchdog_s else self.beat_s


@dataclass(frozen=True, kw_only=True)
class Beat:
    """The report of a rank. `pulse` counts its calls of `phase` and `progress`; the last was `idle_s` ago."""

    host: str
    phase: str = START
    waits_for_others: bool = False
    step: int = 0
    pulse: int = 0
    idle_s: float = 0.0
    cpu_s: float = 0.0
    """CPU time of the process."""

    def to_message(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Beat:
        """ValueError for anything that `to_message` doesn't make."""
        if set(message) != set(BEAT) or not all(isinstance(message[key], kind) for key, kind in BEAT.items()):
            raise ValueError(f"not a beat: {message!r:.200}")
        host, phase = cleaned(message["host"], LONGEST_HOST), cleaned(message["phase"], LONGEST_PHASE)
        return cls(**message | {"host": host, "phase": phase})


@dataclass(frozen=True)
class Verdict:
    """Why the job has to end. `message` is one line for the user."""

    kind: Literal["frozen", "died", "failed", "stalled"]
    ranks: tuple[int, ...]
    message: str


class AwakeClock:
    """Counts the seconds in which this process was awake; `tick` is called at least every `interval_s`.

    A process that was stopped for an hour and continued must not find everybody else silent for an hour. So one tick
    adds no more than two intervals, however long it took.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s, self._clock = interval_s, clock
        self._last, self.now = clock(), 0.0

    def tick(self) -> bool:
        """Go on to the present; True if this process seems to have slept since the last tick."""
        present = self._clock()
        passed, self._last = present - self._last, present
        self.now += min(passed, 2 * self._interval_s)
        return passed > max(3 * self._interval_s, 1.0)


@dataclass
class _Seen:
    beat: Beat
    heard_at: float
    lost: bool = False
    left: Literal["", "finished", "stopping", "failed"] = ""
    left_at: float = 0.0
    error: str = ""


class Judge:
    """Keeps the reports of `size` ranks; `verdict` decides whether one of them ends the job."""

    def __init__(self, limits: Limits, size: int, *, cause: Callable[[], str] = lambda: UNKNOWN_CAUSE) -> None:
        """`cause` returns what may have ended a rank that died without a message."""
        self._limits, self._size, self._cause = limits, size, cause
        self._seen: dict[int, _Seen] = {}
        self._moved_at = 0.0
        self._lenient_until = 0.0

    def heard(self, rank: int, beat: Beat, now: float) -> None:
        """A rank reported where it is."""
        known = self._seen.get(rank)
        if known is None or known.lost:
            self._seen[rank] = _Seen(beat, now)
            self._moved_at = now
            return
        if beat.pulse != known.beat.pulse:
            self._moved_at = now
        known.beat, known.heard_at = beat, now

    def beats(self) -> dict[int, Beat]:
        """The last report of each rank that reported. Any thread."""
        return {rank: seen.beat for rank, seen in list(self._seen.items())}

    def lost(self, rank: int) -> None:
        """The connection to a rank was closed."""
        if rank in self._seen:
            self._seen[rank].lost = True

    def left(self, rank: int, how: Literal["finished", "stopping", "failed"], now: float, error: str = "") -> None:
        """A rank reported that it is done, is being stopped, or has failed with `error`."""
        known = self._seen.get(rank)
        if known is not None and not known.left:
            known.left, known.left_at, known.error = how, now, error

    def woke(self, now: float) -> None:
        """This process itself was stopped and continued. The silence of others may be a consequence: give them a moment."""
        self._lenient_until = now + self._limits.settle_s

    def verdict(self, now: float) -> Verdict | None:
        """The reason to end the job, if there is one."""
        if now < self._lenient_until:
            return None
        return self._died() or self._frozen(now) or self._failed(now) or self._stalled(now)

    def _watched(self) -> dict[int, _Seen]:
        return {rank: seen for rank, seen in sorted(self._seen.items()) if not seen.left}

    def _died(self) -> Verdict | None:
        dead = {rank: seen for rank, seen in self._watched().items() if seen.lost}
        if not dead:
            return None
        # The message gives the greatest possible age of the beat: the rank may have died a step or an epoch later.
        before = f"last heard up to {self._limits.interval_s:g} s before"
        text = _list(
            f"{_who(rank, seen)} died without a word, {before}: {seen.beat.phase}" for rank, seen in dead.items()
        )
        return Verdict("died", tuple(dead), f"{text} ({self._cause()})")

    def _frozen(self, now: float) -> Verdict | None:
        limit = self._limits.watchdog_s
        silence = {rank: now - seen.heard_at for rank, seen in self._watched().items()}
        if not limit or max(silence.values(), default=0.0) <= limit:
            return None
        # Ranks that froze together pass the limit a beat or two apart.
        silent = {rank: self._seen[rank] for rank, s in silence.items() if s > limit - 2 * self._limits.interval_s}
        last = _list(f"{_who(rank, seen)} (last heard: {seen.beat.phase})" for rank, seen in silent.items())
        have = "has" if len(silent) == 1 else "have"
        why = "frozen, or the network is cut"
        return Verdict("frozen", tuple(silent), f"{last} {have} not answered for {limit:g} s: {why}")

    def _failed(self, now: float) -> Verdict | None:
        failed = {
            rank: seen
            for rank, seen in sorted(self._seen.items())
            if seen.left == "failed" and now - seen.left_at > self._limits.failed_s
        }
        if not failed:
            return None
        text = _list(f"{_who(rank, seen)} failed: {seen.error}" for rank, seen in failed.items())
        return Verdict("failed", tuple(failed), text)

    def _stalled(self, now: float) -> Verdict | None:
        limit = self._limits.stall_s
        watched = self._watched()
        waiting = [rank for rank, seen in watched.items() if seen.beat.waits_for_others]
        if not limit or not waiting or now - self._moved_at <= limit:
            return None
        late = {rank: seen for rank, seen in watched.items() if rank not in waiting}
        if late:
            text = _list(f"{_who(rank, s)}, for {s.beat.idle_s:.0f} s at: {s.beat.phase}" for rank, s in late.items())
            message = f"no rank has finished a step for {limit:g} s, and the others wait for {text}"
            return Verdict("stalled", tuple(late), message)
        places = _list(f"{_who(rank, seen)} ({seen.beat.phase})" for rank, seen in watched.items())
        message = (
            f"no rank has finished a step for {limit:g} s, each waits for the others and none is known to lag: {places}"
        )
        return Verdict("stalled", (), message + self._absent())

    def _absent(self) -> str:
        gone = [rank for rank, seen in sorted(self._seen.items()) if seen.left]
        unknown = [rank for rank in range(self._size) if rank not in self._seen]
        text = f"; already ended: {_list(f'rank {rank}' for rank in gone)}" if gone else ""
        return text + (f"; not watched: {_list(f'rank {rank}' for rank in unknown)}" if unknown else "")


def _who(rank: int, seen: _Seen) -> str:
    return f"rank {rank} on host {seen.beat.host}"


def _list(parts: Iterable[str]) -> str:
    """a / a and b / a, b and c, and no more than MOST_NAMED of them."""
    named = list(parts)
    if len(named) > MOST_NAMED:
        named = [*named[:MOST_NAMED], f"{len(named) - MOST_NAMED} more"]
    return " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
