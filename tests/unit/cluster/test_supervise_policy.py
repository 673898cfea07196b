"""What the supervisor does after an end, as a table: history and end in, decision out."""

from __future__ import annotations

import dataclasses

import pytest

from hvd_train.cluster.supervise.policy import Ended, Rules, decide
from hvd_train.runs.job_history import End, Event, Start

FRESH = Ended(code=1, done=False, started_from=None, reached=None)
AT_3 = (3, 0)


def past(*ends: tuple[str, tuple[int, int], tuple[int, int], str], now_from: tuple[int, int] = (0, 0)) -> list[Event]:
    """Earlier starts, each as (outcome, from, reached, next), and the start that has just ended."""
    events: list[Event] = []
    for number, (outcome, begin, reached, following) in enumerate(ends, 1):
        events.append(Start(number=number, hosts={"a": 1}, ranks=1, epoch=begin[0], step=begin[1]))
        end = End(
            number=number,
            code=1,
            outcome=outcome,  # type: ignore[arg-type]
            reason="the ranks ended with exit code 1",
            next=following,  # type: ignore[arg-type]
            epoch=reached[0],
            step=reached[1],
        )
        events.append(end)
    return [*events, Start(number=len(ends) + 1, hosts={"a": 1}, ranks=1, epoch=now_from[0], step=now_from[1])]


def ended(**changes: object) -> Ended:
    return dataclasses.replace(FRESH, **changes)  # type: ignore[arg-type]


FAILED = ("failed", (0, 0), (0, 0), "restart")


@pytest.mark.parametrize(
    ("end", "history", "outcome", "following", "code"),
    [
        # The file DONE alone says that a run is complete, whatever the launcher's code.
        (ended(code=0, done=True), past(), "done", "nothing", 0),
        (ended(code=137, done=True), past(), "done", "nothing", 0),
        (ended(code=143, done=True, stopped_by=15), past(), "done", "nothing", 0),
        (ended(code=0), past(), "failed", "restart", 1),
        # A signal to the supervisor.
        (ended(code=85, stopped_by=15, reached=AT_3), past(), "stopped", "nothing", 143),
        (ended(code=1, stopped_by=2), past(), "stopped", "nothing", 130),
        # A mistake of the user's, and memory, stay what they are.
        (ended(code=2), past(), "mistake", "give-up", 2),
        (ended(code=3), past(), "mistake", "give-up", 3),
        (ended(code=5), past(), "memory", "give-up", 5),
        (ended(code=137, memory=True), past(), "memory", "give-up", 5),
        (ended(code=4, memory=True), past(), "memory", "give-up", 5),
        # Something else of the job ran out of memory, and the training failed by itself.
        (ended(code=1, memory=True), past(), "failed", "restart", 1),
        # Outside of a job that can be continued a saved run waits for its user.
        (ended(code=85, reached=AT_3), past(), "saved", "nothing", 85),
        (ended(code=143, warned=True, reached=AT_3), past(), "saved", "nothing", 85),
        # mpirun crashes of a signal in its own end.
        (ended(code=139, warned=True, reached=AT_3), past(), "saved", "nothing", 85),
        # Asked to save, and ended without having saved.
        (ended(code=138, warned=True), past(), "failed", "give-up", 138),
        # Failures.
        (ended(code=1), past(), "failed", "restart", 1),
        (ended(code=137), past(), "failed", "restart", 137),
        (ended(code=4), past(FAILED, FAILED), "failed", "restart", 4),
        (ended(code=4), past(FAILED, FAILED, FAILED), "failed", "give-up", 4),
        (ended(code=137, hung="the launcher did not end"), past(FAILED, FAILED, FAILED), "failed", "give-up", 137),
        # The same error from the same checkpoint.
        (ended(code=1), past(FAILED), "failed", "give-up", 1),
        (ended(code=1, said="ValueError: NaN"), past(FAILED), "failed", "restart", 1),
        # A new checkpoint lets the count begin again: here and at an earlier start.
        (ended(code=4, reached=AT_3), past(FAILED, FAILED, FAILED), "failed", "restart", 4),
        (
            ended(code=4, started_from=AT_3, reached=AT_3),
            past(FAILED, FAILED, ("failed", (0, 0), AT_3, "restart"), now_from=AT_3),
            "failed",
            "restart",
            4,
        ),
        # An end that was no failure ends the count, too.
        (ended(code=4), past(FAILED, FAILED, FAILED, ("stopped", (0, 0), (0, 0), "nothing")), "failed", "restart", 4),
    ],
)
def test_decisions_outside_of_a_job(end: Ended, history: list[Event], outcome: str, following: str, code: int) -> None:
    decision = decide(end, history, Rules(), continues=False)
    assert (decision.outcome, decision.next, decision.code) == (outcome, following, code)
    assert decision.reason


SAVED = ended(code=85, reached=AT_3)
FRUITLESS = ("saved", (0, 0), (0, 0), "continue")


@pytest.mark.parametrize(
    ("end", "history", "time_left_s", "outcome", "following"),
    [
        (SAVED, past(), 0.0, "saved", "continue"),
        (SAVED, past(*[("saved", (0, 0), (1, 0), "continue")] * 20), 0.0, "saved", "give-up"),
        (SAVED, past(*[("saved", (0, 0), (1, 0), "continue")] * 19), 0.0, "saved", "continue"),
        # Nothing was gained in this job, which can be a slow start. Nothing in two jobs: the next one would gain nothing either.
        (ended(code=85, started_from=AT_3, reached=AT_3), past(now_from=AT_3), 0.0, "saved", "continue"),
        (ended(code=85), past(), 0.0, "saved", "continue"),
        (ended(code=138, warned=True), past(), 0.0, "failed", "continue"),
        (ended(code=85), past(FRUITLESS), 0.0, "saved", "give-up"),
        (ended(code=138, warned=True), past(FRUITLESS), 0.0, "failed", "give-up"),
        (ended(code=85), past(FRUITLESS, FAILED), 0.0, "saved", "give-up"),
        # A new checkpoint in between, or a user that started it again after it was given up.
        (
            ended(code=85, started_from=AT_3, reached=AT_3),
            past(FRUITLESS, ("saved", (0, 0), AT_3, "continue"), now_from=AT_3),
            0.0,
            "saved",
            "continue",
        ),
        (ended(code=85), past(FRUITLESS, ("saved", (0, 0), (0, 0), "give-up")), 0.0, "saved", "continue"),
        # A failure near the limit.
        (ended(code=4, reached=AT_3), past(), 20.0, "failed", "continue"),
        (ended(code=4), past(), 20.0, "failed", "continue"),
        (ended(code=4), past(FRUITLESS), 20.0, "failed", "give-up"),
        (ended(code=4, reached=AT_3), past(), 300.0, "failed", "restart"),
        (ended(code=2), past(), 300.0, "mistake", "give-up"),
        (ended(code=85, stopped_by=15, reached=AT_3), past(), 300.0, "stopped", "nothing"),
    ],
)
def test_decisions_in_a_job(end: Ended, history: list[Event], time_left_s: float, outcome: str, following: str) -> None:
    decision = decide(end, history, Rules(), continues=True, time_left_s=time_left_s)
    assert (decision.outcome, decision.next) == (outcome, following)


def test_the_delay_doubles_with_each_restart() -> None:
    delays = [decide(ended(code=4), past(*[FAILED] * n), Rules(), continues=False).delay_s for n in range(3)]
    assert delays == [5.0, 10.0, 20.0]
    gained = ("failed", (0, 0), (3, 0), "restart")
    nothing = ("failed", (3, 0), (3, 0), "restart")
    again = ended(code=4, started_from=AT_3, reached=AT_3)
    after_gain = [
        decide(again, past(gained, *[nothing] * n), Rules(max_restarts=9), continues=False).delay_s for n in range(3)
    ]
    assert after_gain == [5.0, 10.0, 20.0]
    assert decide(ended(code=4, reached=AT_3), past(), Rules(), continues=False).delay_s == 0.0, "it made progress"
    many = Rules(max_restarts=100)
    assert decide(ended(code=4), past(*[FAILED] * 50), many, continues=False).delay_s == 60.0


def test_no_restart_is_wanted() -> None:
    assert decide(ended(code=4), past(), Rules(max_restarts=0), continues=False).next == "give-up"


def test_a_start_without_an_end_is_no_failure() -> None:
    """Its supervisor was killed."""
    alone = [Start(number=n, hosts={}, ranks=1) for n in range(1, 9)]
    assert decide(ended(code=4), alone, Rules(), continues=False).next == "restart"
