"""From the start of the ranks to their end: passes warnings on, keeps the limits of every wait, and sees what hangs."""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hvd_train.cluster.supervise.surroundings import Ranks, Surroundings

POLL_S = 1.0
# The processes of a whole machine are read for it.
LOOK_S = 2.0
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds that each wait may take."""

    save_s: float = 100.0
    """From a warning to the end of the ranks."""
    stop_s: float = 7.0
    """From SIGTERM or Ctrl-C, and the warning that is made of it, to SIGTERM for the ranks."""
    end_s: float = 5.0
    """From SIGTERM for the ranks to their end."""
    begin_s: float = 180.0
    """From the start of the launcher to its first rank here."""
    deaf_s: float = 5.0
    """From the first rank here, or the start where none is here, to the first signal: Python needs a moment to listen, and a rank
    that does not yet listen would die of a warning."""
    linger_s: float = 30.0
    """From the end of the last rank here, or the end of the run, to that of the launcher."""

    def with_notice(self, notice_s: float) -> Patience:
        """Where so many seconds are between SIGTERM and SIGKILL: all of them but the last ten are for the checkpoint."""
        return dataclasses.replace(self, stop_s=max(self.stop_s, notice_s - 10.0))


@dataclass(frozen=True)
class HowEnded:
    code: int
    warned: bool
    stopped_by: int | None
    hung: str


class RankWatch:
    """Watches one start. `wait` returns how it ended."""

    def __init__(
        self,
        ranks: Ranks,
        world: Surroundings,
        *,
        patience: Patience,
        warn_at: float | None,
        done: Callable[[], bool],
        tell: Callable[[str], None],
        ends_with: Sequence[int] = (),
    ) -> None:
        self._ranks, self._world, self._patience = ranks, world, patience
        self._warn_at = math.inf if warn_at is None else warn_at
        self._done, self._tell, self._ends_with = done, tell, ends_with
        self._began = world.now()
        self._warned_at = self._stop_at = self._ended_at = self._gone_since = math.inf
        self._stopped_by: int | None = None
        self._seen_at, self._looked_at = math.inf, -math.inf
        self._holds_warning = False
        self._hung = ""

    def wait(self) -> HowEnded:
        """Until the launcher has ended, by itself or by force."""
        while (code := self._ranks.poll()) is None:
            for number in self._world.wait(self._nap()):
                self._take(number)
            self._keep_limits(self._world.now())
        return HowEnded(code, self._warned_at < math.inf, self._stopped_by, self._hung)

    def _nap(self) -> float:
        until = min(self._warn_at if self._warned_at == math.inf else math.inf, self._stop_at + self._patience.stop_s)
        return max(0.0, min(POLL_S, until - self._world.now()))

    def _take(self, number: int) -> None:
        if number in WARNINGS and number not in self._ends_with:
            self._warn(f"{signal.Signals(number).name} has come")
        elif self._stopped_by is None:
            self._stopped_by, self._stop_at = number, self._world.now()
            self._tell(f"{signal.Signals(number).name}: the ranks save a checkpoint and end (again: they end at once)")
            self._pass_warning_on()
        elif self._ended_at == math.inf:
            self._end()
        else:
            self._ranks.kill()

    def _warn(self, why: str) -> None:
        if self._warned_at == math.inf and self._stopped_by is None:
            self._tell(f"{why}: the ranks save a checkpoint and end")
            self._warned_at = self._world.now()
            self._pass_warning_on()

    def _pass_warning_on(self) -> None:
        self._holds_warning = self._world.now() < self._seen_at + self._patience.deaf_s
        if not self._holds_warning:
            self._ranks.signal(signal.SIGUSR1)

    def _end(self) -> None:
        if self._ended_at == math.inf:
            self._ended_at, self._holds_warning = self._world.now(), False
            self._ranks.signal(signal.SIGTERM)

    def _keep_limits(self, now: float) -> None:
        patience = self._patience
        if looks := now >= self._looked_at + LOOK_S:
            self._looked_at, seen = now, self._ranks.seen()
            if seen or seen is None:
                self._seen_at = min(self._seen_at, self._began if seen is None else now)
        if self._holds_warning:
            self._pass_warning_on()
        if now >= self._warn_at:
            self._warn("the time limit is near")
        if now >= self._warned_at + patience.save_s and self._ended_at == math.inf:
            self._tell(f"the ranks have not ended within {patience.save_s:g} s after the warning: they are ended now")
            self._end()
        if now >= self._stop_at + patience.stop_s:
            self._end()
        if now >= self._ended_at + patience.end_s:
            self._ranks.kill()
            return
        if looks:
            self._look_for_hanging(now, seen)

    def _look_for_hanging(self, now: float, seen: bool | None) -> None:
        patience, seen_one = self._patience, self._seen_at < math.inf
        ended = self._done() or (seen_one and seen is False)
        self._gone_since = min(self._gone_since, now) if ended else math.inf
        if now >= self._gone_since + patience.linger_s:
            self._hung = f"the launcher did not end within {patience.linger_s:g} s after its ranks"
        elif seen is False and not seen_one and now >= self._began + patience.begin_s:
            self._hung = f"no rank had begun {patience.begin_s:g} s after the start"
        if self._hung:
            self._tell(f"{self._hung}: it is ended now")
            self._ranks.kill()
