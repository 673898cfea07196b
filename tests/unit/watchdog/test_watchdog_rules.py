"""The watchdog's judgement, with clocks that the tests turn."""

from __future__ import annotations

import pytest

from hvd_train.watchdog.rules import LONGEST_PHASE, AwakeClock, Beat, Judge, Limits, Verdict

LIMITS = Limits(watchdog_s=60, stall_s=600)


def beat(
    rank: int = 0, phase: str = "step 120 of epoch 3", *, waits: bool = True, pulse: int = 0, idle_s: float = 0.0
) -> Beat:
    return Beat(host=f"h{rank}", phase=phase, waits_for_others=waits, pulse=pulse, idle_s=idle_s)


def judge_of(size: int, limits: Limits = LIMITS) -> Judge:
    judge = Judge(limits, size)
    for rank in range(size):
        judge.heard(rank, beat(rank), 0.0)
    return judge


def test_a_silent_rank_is_named_after_the_limit_and_not_before() -> None:
    judge = judge_of(3)
    for now in range(1, 61):
        judge.heard(0, beat(0, pulse=now), float(now))
        judge.heard(2, beat(2, pulse=now), float(now))
        assert judge.verdict(float(now)) is None
    assert judge.verdict(60.1) == Verdict(
        "frozen",
        (1,),
        "rank 1 on host h1 (last heard: step 120 of epoch 3) has not answered for 60 s: frozen, or the network is cut",
    )


def test_ranks_that_froze_together_are_named_together_and_not_without_end() -> None:
    judge = judge_of(3)
    judge.heard(2, beat(2), 1.5)
    judge.heard(0, beat(0), 60.0)
    verdict = judge.verdict(60.5)
    assert verdict is not None
    assert verdict.ranks == (1, 2)
    assert "rank 1 on host h1 (last heard: step 120 of epoch 3) and rank 2 on host h2" in verdict.message
    assert "have not answered" in verdict.message
    many = judge_of(1000).verdict(61.0)
    assert many is not None
    assert len(many.ranks) == 1000
    assert "and 992 more have not answered" in many.message
    assert many.message.count("last heard") == 8


def test_a_limit_of_zero_is_off() -> None:
    judge = judge_of(2, Limits(watchdog_s=0, stall_s=0))
    assert judge.verdict(1e9) is None
    judge.lost(1)
    assert judge.verdict(1e9) is not None


def test_a_lost_connection_is_a_death_unless_the_rank_took_leave() -> None:
    judge = judge_of(2)
    judge.lost(1)
    assert judge.verdict(1.0) == Verdict(
        "died",
        (1,),
        "rank 1 on host h1 died without a word, last heard up to 1 s before: step 120 of epoch 3 "
        "(killed, out of memory, or a crash in native code)",
    )
    for how in ("finished", "stopping", "failed"):
        judge = judge_of(2)
        judge.left(1, how, 0.5)
        judge.lost(1)
        assert judge.verdict(1.0) is None
    judge.lost(7)  # never heard of
    assert judge.verdict(1.0) is None


def test_phases_of_any_words_read_well_and_their_age_is_said() -> None:
    """Not "died ... in after step 35 of epoch 6"."""
    judge = Judge(Limits(watchdog_s=60, beat_s=0.5), 2)
    judge.heard(1, beat(1, "after step 35 of epoch 6"), 0.0)
    judge.lost(1)
    verdict = judge.verdict(1.0)
    assert verdict is not None
    assert "last heard up to 0.5 s before: after step 35 of epoch 6 (" in verdict.message
    assert Beat(host="h").phase == "the start"


def test_a_death_has_the_cause_that_is_known() -> None:
    judge = Judge(LIMITS, 2, cause=lambda: "memory ran out")
    judge.heard(1, beat(1), 0.0)
    judge.lost(1)
    verdict = judge.verdict(1.0)
    assert verdict is not None
    assert verdict.message.endswith("step 120 of epoch 3 (memory ran out)")


def test_a_rank_that_connects_again_is_alive() -> None:
    judge = judge_of(2)
    judge.lost(1)
    judge.heard(1, beat(1), 1.0)
    assert judge.verdict(1.0) is None


def test_a_failed_rank_has_a_moment_to_end_the_job_itself() -> None:
    judge = judge_of(2)
    judge.left(1, "failed", 5.0, "DataError: no such file")
    judge.lost(1)
    assert judge.verdict(15.0) is None
    verdict = judge.verdict(15.1)
    assert verdict == Verdict("failed", (1,), "rank 1 on host h1 failed: DataError: no such file")


def stalled(places: dict[int, tuple[str, bool]], at: float = 601.0) -> Judge:
    """All ranks reach their place at second 0 and stay there, alive."""
    judge = Judge(LIMITS, len(places))
    for now in (0.0, at):
        for rank, (phase, waits) in places.items():
            judge.heard(rank, beat(rank, phase, waits=waits, idle_s=now), now)
    return judge


def test_the_rank_that_others_wait_for_is_named() -> None:
    judge = stalled({0: ("step 2 of epoch 1", True), 1: ("reading rows", False), 2: ("step 2 of epoch 1", True)})
    assert judge.verdict(600.0) is None
    assert judge.verdict(601.0) == Verdict(
        "stalled",
        (1,),
        "no rank has finished a step for 600 s, and the others wait for rank 1 on host h1, for 601 s at: reading rows",
    )


def test_when_all_wait_nobody_is_blamed_and_each_place_is_told() -> None:
    verdict = stalled({0: ("step 2", True), 1: ("validation", True)}).verdict(601.0)
    assert verdict is not None
    assert verdict.ranks == ()
    assert "none is known to lag: rank 0 on host h0 (step 2) and rank 1 on host h1 (validation)" in verdict.message


def test_those_who_went_and_those_unknown_are_told_of_a_stall() -> None:
    judge = Judge(LIMITS, 4)
    for rank in (0, 1, 2):
        judge.heard(rank, beat(rank), 0.0)
    judge.left(2, "finished", 0.0)
    for rank in (0, 1):
        judge.heard(rank, beat(rank), 601.0)
    verdict = judge.verdict(601.0)
    assert verdict is not None
    assert verdict.message.endswith("; already ended: rank 2; not watched: rank 3")


def test_no_stall_where_all_work_or_somebody_moves() -> None:
    assert stalled({0: ("reading", False), 1: ("reading", False)}).verdict(601.0) is None
    judge = stalled({0: ("a", True), 1: ("b", False)})
    judge.heard(1, beat(1, "b", waits=False, pulse=1), 601.0)
    assert judge.verdict(601.0) is None
    assert judge.verdict(602.0) is None


def test_a_rank_that_finished_is_not_silent() -> None:
    judge = judge_of(2)
    judge.left(1, "finished", 0.0)
    judge.heard(0, beat(0), 100.0)
    assert judge.verdict(100.0) is None


def test_after_a_pause_of_its_own_a_process_judges_late() -> None:
    judge = judge_of(2)
    judge.woke(10.0)
    judge.lost(1)
    assert judge.verdict(12.9) is None
    assert judge.verdict(13.0) is not None


def test_the_awake_clock_leaves_out_what_was_slept() -> None:
    present = [100.0]
    clock = AwakeClock(1.0, lambda: present[0])
    slept = []
    for passed in (1.0, 0.5, 3600.0, 1.0):
        present[0] += passed
        slept.append(clock.tick())
    assert slept == [False, False, True, False]
    assert clock.now == pytest.approx(1.0 + 0.5 + 2.0 + 1.0)


def test_beats_come_faster_where_the_limit_is_short() -> None:
    assert Limits().interval_s == 1.0
    assert Limits(watchdog_s=2).interval_s == pytest.approx(0.4)
    assert Limits(watchdog_s=0).interval_s == 1.0


def test_a_beat_survives_the_wire_and_nonsense_does_not() -> None:
    one = beat(1, pulse=7, idle_s=0.5)
    assert Beat.from_message(one.to_message()) == one
    told = Beat.from_message({**one.to_message(), "host": "a\x1b[2Jb\n", "phase": "x" * 5000})
    assert told.host == "a?[2Jb?"
    assert len(told.phase) == LONGEST_PHASE
    for wrong in ({}, {**one.to_message(), "more": 1}, {**one.to_message(), "step": "x"}):
        with pytest.raises(ValueError, match="not a beat"):
            Beat.from_message(wrong)
