"""The order of what a watchdog's loop does in a turn, without peers."""

from __future__ import annotations

import selectors
from types import SimpleNamespace

import pytest

from hvd_train.watchdog.loop import Loop
from hvd_train.watchdog.rules import AwakeClock, Beat, Limits, Verdict

LIMITS = Limits(watchdog_s=1.5)


class StoppedWhileReading(Loop):
    """Hears of rank 1, loses it in the next turn, and ends with the fourth; `slept_s` pass while it reads the loss."""

    def __init__(self, slept_s: float) -> None:
        station = SimpleNamespace(
            limits=LIMITS,
            rank=0,
            size=2,
            host="a",
            beat=lambda: Beat(host="a"),
            cause=lambda: "killed",
            warn=pytest.fail,
        )
        super().__init__(station)
        self.slept_s, self.present, self.turn = slept_s, 0.0, 0
        self.clock = AwakeClock(LIMITS.interval_s, clock=lambda: self.present)
        self.verdicts: list[Verdict] = []

    def read(self, selector: selectors.BaseSelector) -> None:
        self.turn += 1
        self.present += 0.1
        if self.turn == 1:
            self.judge.heard(1, Beat(host="b"), self.clock.now)
        elif self.turn == 2:
            self.present += self.slept_s
            self.judge.lost(1)
        self._ended = self.turn == 4

    def tell(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)


@pytest.mark.parametrize(("slept_s", "judged"), [(0.0, ["died"]), (5.0, [])])
def test_what_was_read_around_a_pause_of_its_own_is_not_judged_at_once(slept_s: float, judged: list[str]) -> None:
    """The others ended the job because this process was stopped: it must not call that their death."""
    loop = StoppedWhileReading(slept_s)
    loop.run()
    assert [verdict.kind for verdict in loop.verdicts] == judged
